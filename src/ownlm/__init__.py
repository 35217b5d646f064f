"""Build, train, adapt, understand and serve your own language model."""

__version__ = "0.1.0"
