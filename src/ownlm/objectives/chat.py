"""Learning to answer (supervised finetuning): of conversations the assistant's words are predicted,
each with the token that ends it.

tokens     <user> Hi <end> <assistant> Yes <end> | <user> ...      T + 1 tokens of a row
learned      0    0    0        0       1    1       0
inputs     <user> Hi <end> <assistant> Yes <end>
targets     ----  ---- ----    Yes    <end> ----
mask         1    1    1        1       1    1       2             conversations do not see each
                                                                   other; positions begin anew
"""

import numpy as np
import torch

from ownlm.errors import ConfigError
from ownlm.objectives.causal import Causal
from ownlm.objectives.objective import IGNORE, Batch, Examples


class Chat(Causal):
    """Cross entropy of what the assistant says. Which tokens are learned comes with the examples,
    by place: no id, of padding or of an end, is ever left out for what it is."""

    covers = False

    def collate(self, examples: Examples, rng: np.random.Generator) -> Batch:
        """inputs, mask, targets (B, T). `examples` bring `learned` (B, T + 1) with them
        (data.packing); ConfigError for plain text."""
        learned, documents = getattr(examples, "learned", None), examples.documents
        if learned is None or documents is None:
            raise ConfigError(
                "learning to answer needs conversations, and plain text has none",
                where="objective",
                next_command="--objective.kind causal, or data of conversations",
            )
        tokens = examples.tokens
        follows = (documents[:, 1:] == documents[:, :-1]) & (documents[:, 1:] > 0)
        targets = np.where(learned[:, 1:] & follows, tokens[:, 1:], IGNORE)
        return {
            "inputs": torch.from_numpy(tokens[:, :-1].copy()),
            "mask": torch.from_numpy(documents[:, :-1].copy()),
            "targets": torch.from_numpy(targets),
        }
