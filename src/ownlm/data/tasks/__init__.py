"""Labelled and conversational data: recognised, checked, split and shown back."""
