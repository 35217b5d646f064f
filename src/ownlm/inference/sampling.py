"""From logits to one token.

Shapes: V vocabulary.
"""

import torch
from torch import Tensor

from ownlm.errors import NonFiniteError
from ownlm.inference.config import SamplingConfig


class Sampler:
    """Draws tokens one after the other from its own seeded stream, on the CPU: the text of a
    seed then does not depend on the device."""

    def __init__(self, config: SamplingConfig) -> None:
        self.config = config
        self.generator = torch.Generator().manual_seed(config.seed)

    def __call__(self, logits_V: Tensor) -> int:
        """The next token's id; NonFiniteError when the model computes nonsense."""
        logits_V = logits_V.detach().float().cpu()
        if not bool(logits_V.max().isfinite()):  # one that is not a number is the largest
            raise NonFiniteError(
                "the model's logits are not numbers",
                next_command="check the weights: an earlier checkpoint may be sound",
            )
        if self.config.temperature == 0:
            return int(logits_V.argmax())
        return draw(probabilities(logits_V, self.config), self.generator)


def draw(shares_V: Tensor, generator: torch.Generator) -> int:
    """One index with these probabilities: where a random height meets their cumulated sum."""
    heights_V = shares_V.double().cumsum(dim=-1)
    height = torch.rand((), dtype=torch.float64, generator=generator) * heights_V[-1]
    return int(torch.searchsorted(heights_V, height, right=True).clamp(max=len(shares_V) - 1))


def probabilities(logits_V: Tensor, config: SamplingConfig) -> Tensor:
    """What is sampled from, (V,): the likely tokens' probabilities, the others zero.

    Temperature comes first, then top_k, top_p and min_p on what is left. Nucleus sampling
    (top_p): Holtzman et al. 2020, arXiv:1904.09751.
    """
    # The largest is 0 and stays so at a temperature of 1e-300; the others may leave the range.
    kept_V = (logits_V - logits_V.max()).double() / config.temperature
    if 0 < config.top_k < len(kept_V):
        kept_V = kept_V.masked_fill(kept_V < kept_V.topk(config.top_k).values[-1], -torch.inf)
    if config.top_p < 1:
        kept_V = _nucleus(kept_V, config.top_p)
    shares_V = kept_V.softmax(dim=-1)
    if config.min_p > 0:
        shares_V = shares_V.where(shares_V >= config.min_p * shares_V.max(), 0.0)
    return shares_V / shares_V.sum()


def _nucleus(logits_V: Tensor, top_p: float) -> Tensor:
    # Logits are sorted, not shares: two shares may round to the same number.
    sorted_V, order_V = logits_V.sort(descending=True, stable=True)
    shares_V = sorted_V.softmax(dim=-1)
    # A token stays while those before it have not reached the sum: the first always stays.
    dropped_V = shares_V.cumsum(dim=-1) - shares_V >= top_p
    return logits_V.masked_fill(dropped_V.scatter(0, order_V, dropped_V), -torch.inf)
