"""Next-token prediction (GPT): each token is guessed from those before it.

tokens     the  cat  sat  <end>  a   dog        T + 1 tokens of a window
inputs     the  cat  sat  <end>  a              what the model sees
targets    cat  sat <end>  ----  dog            what it is to say; ---- is not learned:
documents   1    1    1    1     2    2         the next text cannot be known from the last
"""

import numpy as np
import torch
from torch import nn

from ownlm.objectives.objective import IGNORE, Batch, Examples, Loss


class Causal:
    """Cross entropy of each next token; documents packed into a window do not see each other."""

    partners = False
    covers = True

    def window(self, context: int) -> int:
        """A window fills the context."""
        return context

    def collate(self, examples: Examples, rng: np.random.Generator) -> Batch:
        """inputs (B, T), targets (B, T), and with documents the mask (B, T) that parts them."""
        inputs, targets = examples.tokens[:, :-1], examples.tokens[:, 1:]
        batch = {}
        if examples.documents is not None:
            here, there = examples.documents[:, :-1], examples.documents[:, 1:]
            targets = np.where(here == there, targets, IGNORE)
            batch["mask"] = torch.from_numpy(here.copy())
        batch["inputs"] = torch.from_numpy(inputs.copy())
        batch["targets"] = torch.from_numpy(targets.copy())
        return batch

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Summed nats of the next tokens; in training experts are kept in balance as well."""
        output = model(batch["inputs"], mask=batch.get("mask"))
        total, count = output.cross_entropy(batch["targets"], ignore=IGNORE)
        if output.balance is None:
            return Loss(total, count, {})
        balance = output.balance * count
        return Loss(total + balance, count, {"balance": torch.stack((balance.detach(), count))})
