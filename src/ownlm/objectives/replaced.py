"""Replaced token detection (ELECTRA, Clark et al. 2020, arXiv:2003.10555, section 2).

text        the  chef  cooked  the  meal
generator   the  chef  [MASK]  the  meal      a small masked LM fills the gaps with samples
model       the  chef  ate     the  meal      says of every token whether it was replaced
labels      0    0     1       0    0         a gap that was filled rightly counts as 0
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm.models.generator import WithGenerator
from ownlm.objectives.masked import Corruption, Masked, asked
from ownlm.objectives.objective import IGNORE, Batch, Examples, Loss, Stream
from ownlm.objectives.rows import windows
from ownlm.objectives.vocabulary import Vocabulary

WEIGHT = 50.0
"""Of the detection beside the generator's loss (lambda of equation 3)."""


class Replaced:
    """The generator's masked loss plus the weighted loss of the detector."""

    partners = False
    covers = False

    def __init__(self, vocab: Vocabulary, corruption: Corruption) -> None:
        self.masked = Masked(vocab, corruption)

    def window(self, context: int) -> int:
        """As in a masked LM."""
        return self.masked.window(context)

    def begins(self, stream: Stream, length: int) -> None:
        """Anywhere."""

    def collate(self, examples: Examples, rng: np.random.Generator) -> Batch:
        """What a masked LM gets, and a number in [0, 1) for each token that decides a sample."""
        base = int(rng.integers(1 << 62))
        batch = self.masked.collate(examples, np.random.default_rng(base))
        shape = batch["inputs"].shape[1]
        chances = [
            row.rng.random(shape, np.float32)
            for row in windows(examples, np.random.default_rng(base + 1))
        ]
        return batch | {"chances": torch.from_numpy(np.stack(chances))}

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Summed nats; both parts weigh as if each were averaged over its own tokens."""
        assert isinstance(model, WithGenerator)
        at, real = batch["targets"] != IGNORE, batch["mask"] > 0
        seen = {"mask": batch["mask"], "types": batch["types"]}
        filled, targets = asked(model.generator(batch["inputs"], **seen), batch["targets"])
        total, count = filled.cross_entropy(targets, ignore=IGNORE)
        text = torch.where(at, batch["targets"], batch["inputs"])
        replaced = text.clone()
        with torch.no_grad():
            replaced[at] = sampled(filled.logits.float().softmax(-1), batch["chances"][at])
        labels = (replaced != text).float()
        scores = model.model(replaced, **seen).logits[..., 0].float()
        nats = F.binary_cross_entropy_with_logits(scores, labels, reduction="none") * real
        tokens = real.sum().float()
        right = ((scores > 0) == (labels > 0)) & real
        metrics = {
            "generator_loss": torch.stack((total.detach(), count.float())),
            "detector_loss": torch.stack((nats.detach().sum(), tokens)),
            "detector_accuracy": torch.stack((right.sum().float(), tokens)),
            "replaced": torch.stack(((labels * real).sum(), tokens)),
        }
        return Loss(total + WEIGHT * (nats * hidden_share(batch["mask"], at)).sum(), count, metrics)


def hidden_share(mask_BT: Tensor, at_BT: Tensor) -> Tensor:
    """Hidden tokens a token of each packed sequence, (B, T): what turns one mean into the other."""
    rows = torch.arange(len(mask_BT), device=mask_BT.device)[:, None]
    keys = (mask_BT + rows * (mask_BT.max() + 1)).flatten()
    hidden, tokens = (torch.bincount(keys, weights=w.flatten().float())
                      for w in (at_BT, torch.ones_like(at_BT)))  # fmt: skip
    return (hidden / tokens.clamp(min=1)).float()[keys].view_as(mask_BT)


def sampled(shares_NV: Tensor, chances_N: Tensor) -> Tensor:
    """Ids drawn from distributions, decided by numbers in [0, 1)."""
    sums_NV = shares_NV.cumsum(dim=-1)
    places_N: Tensor = (sums_NV < chances_N[:, None] * sums_NV[:, -1:]).sum(dim=-1)
    return places_N.clamp(max=shares_NV.shape[1] - 1)
