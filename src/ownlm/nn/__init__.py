"""Layers of a Transformer, as values on independent axes; no file here knows a family's name."""
