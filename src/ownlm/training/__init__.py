"""The training loop: optimizer, schedule, precision, checkpoints, what no crash may break."""
