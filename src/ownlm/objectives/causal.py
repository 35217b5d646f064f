"""Next-token prediction (GPT): each token is guessed from those before it.

tokens     the  cat  sat  <end>   a   dog       T + 1 tokens of a window
documents   1    1    1     1     2    2        the end of a text belongs to it, but
inputs     the  cat  sat  <end>   a             what the model sees
targets    cat  sat <end>   a    dog            what it is to say
mask        1    1    1     2     2             as an input it opens the next: how a text begins
                                                is learned from <end> alone, not from the last
"""

import numpy as np
import torch
from torch import nn

from ownlm.objectives.objective import IGNORE, Batch, Examples, Loss, Stream


class Causal:
    """Cross entropy of each next token; documents packed into a window do not see each other."""

    partners = False
    covers = True
    segments = 1

    def __init__(self, *, segments: int = 1) -> None:
        """A window holds `segments` contexts; with more than one, each reads the memory that the
        model keeps of those before it (Transformer-XL, Dai et al. 2019, section 3.2)."""
        self.segments = segments

    def window(self, context: int) -> int:
        """As many contexts as there are segments."""
        return context * self.segments

    def begins(self, stream: Stream, length: int) -> None:
        """Anywhere."""

    def collate(self, examples: Examples, rng: np.random.Generator) -> Batch:
        """inputs (B, T), targets (B, T), and with documents the mask (B, T) that parts them."""
        batch = {
            "inputs": torch.from_numpy(examples.tokens[:, :-1].copy()),
            "targets": torch.from_numpy(examples.tokens[:, 1:].copy()),
        }
        if examples.documents is not None:
            batch["mask"] = torch.from_numpy(examples.documents[:, 1:].copy())  # of the targets
        return batch

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Summed nats of the next tokens; in training experts are kept in balance as well."""
        if self.segments > 1:
            return self.recurrent(model, batch)
        seen = {name: batch[name] for name in ("mask", "prefix") if name in batch}
        output = model(batch["inputs"], **seen)
        total, count = output.cross_entropy(batch["targets"], ignore=IGNORE)
        if output.balance is None:
            return Loss(total, count, {})
        balance = output.balance * count
        return Loss(total + balance, count, {"balance": torch.stack((balance.detach(), count))})

    def recurrent(self, model: nn.Module, batch: Batch) -> Loss:
        """The same over segments that pass their memory on."""
        size = -(-batch["inputs"].shape[1] // self.segments)
        parts = {name: tensor.split(size, dim=1) for name, tensor in batch.items()}
        memory = model.new_memory(len(batch["inputs"]))  # type: ignore[operator]
        sums = []
        for number, (ids, targets) in enumerate(
            zip(parts["inputs"], parts["targets"], strict=True)
        ):
            mask = parts["mask"][number] if "mask" in parts else None
            output = model(ids, mask=mask, cache=memory)
            sums.append(output.cross_entropy(targets, ignore=IGNORE))
        totals, counts = zip(*sums, strict=True)
        return Loss(torch.stack(totals).sum(), torch.stack(counts).sum(), {})
