"""From logits to one token: penalties, bias, what is allowed, temperature, top-k, top-p, min-p.

Shapes: M rows, V vocabulary.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ownlm.errors import ConfigError, NonFiniteError
from ownlm.inference.config import SamplingConfig

LEAST_PENALTY = 1e-6
"""By which logits are divided at least: what is far less would leave none that is a number."""


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
        if not bool(logits_V[likeliest(logits_V)].isfinite()):
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
                held, penalty = logits_V[repeated], max(c.repetition_penalty, LEAST_PENALTY)
                logits_V[repeated] = torch.where(held > 0, held / penalty, held * penalty)
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
        best = likeliest(logits_V)
        if logits_V[best] == -torch.inf:
            raise ConfigError("no token may come next", where="constraint")
        if self.config.temperature == 0:
            return best
        found = candidates(logits_V, self.config)
        place = draw(found.shares, self.generator)
        return place if found.ids is None else int(found.ids[place])


def likeliest(logits_V: Tensor) -> int:
    """The first of the largest, or what is not a number; numpy finds it twenty times as fast."""
    return int(logits_V.numpy().argmax())


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
    """What is sampled from, (V,): the likely tokens' probabilities, the others zero."""
    found = candidates(logits_V, config)
    if found.ids is None:
        return found.shares
    return found.shares.new_zeros(len(logits_V)).index_copy(0, found.ids, found.shares)


class Candidates(NamedTuple):
    """Tokens that may come, and their probabilities."""

    ids: Tensor | None
    """Ascending, so that a draw does not depend on which others were left out; None: all."""
    shares: Tensor


def candidates(logits_V: Tensor, config: SamplingConfig) -> Candidates:
    """What is sampled from. Temperature comes first, then top_k, top_p and min_p on what is left.

    Nucleus sampling (top_p): Holtzman et al. 2020, arXiv:1904.09751. A filter that leaves few
    tokens makes all that follows cheap.
    """
    # The largest is 0 and stays so at a temperature of 1e-300; the others may leave the range.
    kept = (logits_V - logits_V.max()).double().div_(config.temperature)
    ids = None
    if 0 < config.top_k < len(kept):
        ids = (kept >= kept.topk(config.top_k).values[-1]).nonzero()[:, 0]
        kept = kept[ids]
    if config.top_p < 1:
        chosen = _nucleus(kept, config.top_p)
        kept, ids = kept[chosen], chosen if ids is None else ids[chosen]
    shares = kept.softmax(dim=-1)
    if config.min_p > 0:
        chosen = (shares >= config.min_p * shares.max()).nonzero()[:, 0]
        shares, ids = shares[chosen], chosen if ids is None else ids[chosen]
        shares /= shares.sum()
    return Candidates(ids, shares)


def _nucleus(logits_V: Tensor, top_p: float) -> Tensor:
    """Places, ascending, of the fewest largest whose probabilities reach the sum; of equal ones
    the first."""
    # Logits are sorted, not shares, of which two may round to the same number; by numpy, whose
    # sort takes a tenth of the time of torch's, which sorts places too.
    falling_V = torch.from_numpy(np.sort(logits_V.numpy())).flip(0)
    shares_V = falling_V.softmax(dim=-1)
    # A token stays while those before it have not reached the sum: the first always stays.
    count = int((shares_V.cumsum(dim=-1) - shares_V < top_p).sum())
    kept_V = logits_V > falling_V[count - 1]
    equal = (logits_V == falling_V[count - 1]).nonzero()[:, 0]
    kept_V[equal[: count - int(kept_V.sum())]] = True
    return kept_V.nonzero()[:, 0]


class Scored(NamedTuple):
    """Logits, and what is the same for every request of them."""

    whole: Tensor
    """(M, V'): all that the model has."""
    logits: Tensor
    """(M, V): of the ids that the tokenizer has."""
    best: list[int]
    highest: list[float]

    def part(self, begin: int, end: int) -> "Scored":
        """Those of one text."""
        kept = slice(begin, end)
        return Scored(self.whole[kept], self.logits[kept], self.best[kept], self.highest[kept])

    def at(self, place: int) -> tuple[Tensor, int, float]:
        """Those after one token."""
        return self.logits[place], self.best[place], self.highest[place]


def score(whole_MV: Tensor, vocab: int) -> Scored:
    """The likeliest tokens, at a tenth of what torch's own maximum takes; where something is no
    number, that one."""
    logits_MV = whole_MV[:, :vocab]
    logits = logits_MV.numpy()
    best = logits.argmax(axis=-1)
    highest = logits[np.arange(len(best)), best]
    return Scored(whole_MV, logits_MV, best.tolist(), highest.tolist())
