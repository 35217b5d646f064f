"""Generation: choosing tokens, decoding, and a language model as one object."""
