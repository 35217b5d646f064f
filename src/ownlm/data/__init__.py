"""From text on disk to batches of tokens: read, check, split, tokenise, publish, load."""
