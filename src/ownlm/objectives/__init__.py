"""What a model learns: how examples become a batch, and the loss of a batch."""
