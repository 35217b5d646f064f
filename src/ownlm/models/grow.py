"""More rows for new tokens: a model whose vocabulary grows.

Shapes: V vocabulary, D width.
"""

import torch

from ownlm.errors import ConfigError
from ownlm.models.load import build_any
from ownlm.models.model import Model

VOCAB = "vocab_size"
"""Of config.json."""


@torch.no_grad()
def grown(model: Model, vocab: int) -> Model:
    """The same model with `vocab` rows in its token table and its output matrix; itself where it
    has as many.

    New rows are the mean of the old ones: a new token is then as likely as an average one, and
    no answer changes much (Hewitt 2021, https://nlp.stanford.edu/~johnhew/vocab-expansion.html).
    Raises ConfigError for a family that does not say its vocabulary by one number.
    """
    if vocab <= model.vocab:
        return model
    if model.config.get(VOCAB) != model.vocab:
        raise ConfigError(
            f"the vocabulary of {model.family.name} cannot grow",
            where="config.json",
            next_command="a model whose tokenizer brings a chat template",
        )
    made = build_any(model.config | {VOCAB: vocab}, seed=0, dtype=model.dtype)
    old = model.state_dict()
    for name, wide in made.state_dict().items():
        known = old[name]
        if known.shape == wide.shape:
            wide.copy_(known)
        else:  # (V, D), or the (V,) of a bias
            wide[: len(known)] = known
            wide[len(known) :] = known.float().mean(dim=0)
    return made.to(model.device).train(model.training)
