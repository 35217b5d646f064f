"""Tasks with answers to learn: labels, scores, tags, spans; each encodes, learns and predicts."""
