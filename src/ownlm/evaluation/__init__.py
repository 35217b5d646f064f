"""How good a model is, whether its parts are right, and a report a person can read."""
