"""Families of models: sizes, Hugging Face configurations, tables of tensor names, load and save."""
