"""Low-rank additions summed into the weights they were trained on, if all answers stay the same."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ownlm.errors import ConfigError
from ownlm.models.adapt import adapted, frozen_forms, replace_part
from ownlm.models.model import EncoderDecoder, Model
from ownlm.nn.head import Output
from ownlm.nn.linear import Linear
from ownlm.nn.lora import Adapted
from ownlm.nn.quantize import QuantizedLinear

EXACT = 1e-5
TOLERANCE = {torch.float32: EXACT, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""How far merged answers may be from those before, as a share of the largest one. Of a sum that
is rounded to bfloat16 8 bits are left: SmolLM2-135M's answers then move by 2 to 4 %, which a small
addition does too. So in these types half of its effect is the limit as well."""


class MergeReport(NamedTuple):
    """How well a merged model answers as the adapted one did."""

    layers: int
    """Layers that were merged."""
    error: float
    """Largest difference of two answers, as a share of the largest answer."""
    tolerance: float
    """What it may be."""
    effect: float
    """The same between the adapted model and the pretrained one: what the additions do."""

    @property
    def fault(self) -> str:
        """Why the merged model may not stand for the adapted one; empty where it may."""
        if not self.error <= self.tolerance:  # or no number
            return (
                f"merged answers differ by {self.error:.1e} of the largest one, "
                f"{self.tolerance:.0e} is allowed"
            )
        if self.error > max(EXACT, self.effect / 2):
            return (
                f"the additions move answers by {self.effect:.1e} of the largest one, and "
                f"{self.error:.1e} are rounded away"
            )
        return ""

    @property
    def report(self) -> str:
        """In words."""
        return (
            f"merged {self.layers} layers: answers differ by {self.error:.1e} of the largest one "
            f"(at most {self.tolerance:.0e}); the additions change them by {self.effect:.1e}"
        )


def merge(model: Model, ids: Tensor | None = None, tolerance: float | None = None) -> MergeReport:
    """Make an adapted model a plain one, in place, if it then answers the same.

    Compared are all scores for `ids` (B, T), by default 2 x 64 random ones; `tolerance` None is
    that of the model's type. ConfigError leaves the model as it was.
    """
    layers = frozen_forms(model)
    if not layers:
        raise ConfigError(
            "this model has no low-rank additions to merge",
            where="merge",
            next_command="it is whole already: save it as it is",
        )
    ids = random_ids(model) if ids is None else ids
    training = model.training
    model.eval()
    before = answers(model, ids)
    _put(model, {name: part.base for name, part in adapted(model).items()})
    bare = answers(model, ids)
    _put(model, {name: _plain(part, model.dtype) for name, part in layers.items()})
    after = answers(model, ids)
    model.train(training)
    limit = TOLERANCE.get(model.dtype, EXACT) if tolerance is None else tolerance
    found = MergeReport(len(layers), distance(after, before), limit, distance(bare, before))
    if fault := found.fault:
        _put(model, layers)
        raise ConfigError(
            fault,
            where="merge",
            kept="the model with its additions",
            next_command="merge in float32: load the base with dtype float32, or use the adapter",
        )
    return found


def _plain(part: Adapted | QuantizedLinear, dtype: torch.dtype) -> Linear:
    return part.merged() if isinstance(part, Adapted) else part.plain(dtype)


def _put(model: nn.Module, parts: Mapping[str, nn.Module]) -> None:
    for name, part in parts.items():
        replace_part(model, name, part)


def random_ids(model: Model, seed: int = 0) -> Tensor:
    """Two rows of at most 64 ids."""
    generator = torch.Generator().manual_seed(seed)
    shape = 2, min(64, model.context)
    return torch.randint(model.vocab, shape, generator=generator).to(model.device)


@torch.no_grad()
def answers(model: Model, ids: Tensor) -> list[Tensor]:
    """What each head says of `ids`, in float32; hidden states where there is no head."""
    inputs = (ids, ids) if isinstance(model, EncoderDecoder) else (ids,)
    output: Output = model(*inputs)
    heads = [output] if output.task is None else [output, output.task]
    return [(o.logits if len(o.weight) else o.features).float() for o in heads]


def distance(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Largest difference as a share of the largest of `theirs`, of the head where it is worst."""
    shares = [(a - b).abs().max() / b.abs().max() for a, b in zip(ours, theirs, strict=True)]
    return float(torch.stack(shares).max())
