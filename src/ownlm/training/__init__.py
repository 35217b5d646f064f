"""The training loop: optimizer, schedule, precision, checkpoints, and what a crash may not break."""
