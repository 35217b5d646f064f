"""From logits to one token: penalties, bias, what is allowed, temperature, top-k, top-p, min-p.

Shapes: V vocabulary.
"""

from collections import Counter
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from ownlm.errors import ConfigError, NonFiniteError
from ownlm.inference.config import SamplingConfig


class Sampler:
    """Draws tokens one after the other from its own seeded stream, on the CPU: the text of a
    seed then does not depend on the device, nor on what else is written beside it."""

    def __init__(self, config: SamplingConfig, prompt: Sequence[int] = ()) -> None:
        """`prompt` is what was read before: repetition of it is penalised too."""
        self.config, self.prompt = config, frozenset(prompt)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.written: Counter[int] = Counter()

    @property
    def plain(self) -> bool:
        """Whether it takes the likeliest token, whatever was written before."""
        return self.config.temperature == 0 and not self._penalises and not self.config.logit_bias

    def __call__(
        self, logits_V: Tensor, allowed_V: Tensor | None = None, banned: Collection[int] = ()
    ) -> int:
        """The next token's id, among those that are allowed (booleans; None: all) and not banned.

        NonFiniteError when the model computes nonsense, ConfigError when nothing may come.
        """
        logits_V = logits_V.detach().float().cpu()
        if not bool(logits_V.max().isfinite()):  # one that is not a number is the largest
            raise not_numbers()
        logits_V = self.adjusted(logits_V)
        if allowed_V is not None:
            logits_V = logits_V.masked_fill(~allowed_V, -torch.inf)
        if banned:
            logits_V = logits_V.index_fill(0, torch.tensor([*banned]), -torch.inf)
        token = self._chosen(logits_V)
        self.written[token] += 1
        return token

    def adjusted(self, logits_V: Tensor) -> Tensor:
        """Logits with penalties for what came before, and with the bias."""
        c = self.config
        if self._penalises:
            logits_V = logits_V.clone()
            if repeated := [*self.prompt | self.written.keys()]:
                held = logits_V[repeated]
                down, up = held / c.repetition_penalty, held * c.repetition_penalty
                logits_V[repeated] = torch.where(held > 0, down, up)
            if self.written:
                counts = torch.tensor([*self.written.values()])
                penalties = c.presence_penalty + c.frequency_penalty * counts
                logits_V[[*self.written]] -= penalties
        if c.logit_bias:
            biased = [token for token in c.logit_bias if 0 <= token < len(logits_V)]
            added = torch.tensor([c.logit_bias[token] for token in biased])
            logits_V = logits_V.index_add(0, torch.tensor(biased, dtype=torch.long), added)
        return logits_V

    @property
    def _penalises(self) -> bool:
        c = self.config
        return c.repetition_penalty != 1 or bool(c.presence_penalty or c.frequency_penalty)

    def _chosen(self, logits_V: Tensor) -> int:
        best = int(logits_V.argmax())
        if logits_V[best] == -torch.inf:
            raise ConfigError("no token may come next", where="constraint")
        if self.config.temperature == 0:
            return best
        return draw(probabilities(logits_V, self.config), self.generator)


def not_numbers() -> NonFiniteError:
    """What is said of a model that computes nonsense."""
    return NonFiniteError(
        "the model's logits are not numbers",
        next_command="check the weights: an earlier checkpoint may be sound",
    )


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
