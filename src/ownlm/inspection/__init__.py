"""What is inside a model: its modules, parameters and memory."""
