"""Decoders as ONNX files: ids (B, T) to logits (B, T, V).

A decoder needs no mask, for padding behind a text is never seen. There is no input for earlier
keys and values: each step of a generation reads the whole text. torch records the model once,
with B and T open.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm.errors import ConfigError
from ownlm.files import disk_errors, make_folder, readable, sync_file
from ownlm.models.model import Model
from ownlm.nn import attention
from ownlm.nn.mask import Mask

FILE = "model.onnx"
INPUT, OUTPUT = "input_ids", "logits"
LARGEST = 2_000_000_000
"""Bytes: what one ONNX file can hold is two gigabytes."""


class Recorded(nn.Module):
    """A decoder as a function of its ids alone."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Logits (B, T, V)."""
        logits: Tensor = self.model(ids_BT).logits
        return logits


def write_onnx(model: Model, path: Path) -> None:
    """Record a decoder and write it; ConfigError for a model that this does not record."""
    onnx = _package()
    if model.writer is None or model.family.make is not None:
        raise ConfigError(
            f"{model.family.name}{model.architecture.form} cannot be written as ONNX",
            where="--to onnx",
            next_command="writable: models of one stack of blocks that continue text",
        )
    if (size := 4 * sum(p.numel() for p in model.parameters())) > LARGEST:
        raise ConfigError(
            f"{readable(size)} in 32 bits, and an ONNX file holds {readable(LARGEST)}",
            where="--to onnx",
            next_command="--to gguf has no such limit",
        )
    axes = {0: torch.export.Dim("batch", min=1, max=4096),
            1: torch.export.Dim("tokens", min=2, max=max(model.context, 9))}  # fmt: skip
    with disk_errors(path), _traceable(), _quiet(), torch.no_grad():
        make_folder(path.parent)
        program = onnx.export(
            Recorded(model).eval(), (torch.ones(2, 8, dtype=torch.long),), dynamo=True,
            dynamic_shapes=(axes,), input_names=[INPUT], output_names=[OUTPUT], verbose=False,
        )  # fmt: skip
        program.save(str(path))
        sync_file(path)


@contextlib.contextmanager
def _traceable() -> Iterator[None]:
    """The same attention without native kernels, which ONNX has not."""
    kept = attention.attend
    attention.attend = _attend
    try:
        yield
    finally:
        attention.attend = kept


def _attend(
    q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, mask: Mask, scale: float, dropout: float = 0.0
) -> Tensor:
    """`attention.attend` by torch's own function, its mask always written out."""
    seen = mask.built
    seen = seen if seen.dtype == torch.bool else seen.to(q_BHTK.dtype)
    k, v = (attention.each_head(x, q_BHTK) for x in (k_BGSK, v_BGSK))
    return F.scaled_dot_product_attention(q_BHTK, k, v, attn_mask=seen, scale=scale)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the recorder says of other packages and of its own workings."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _package() -> Any:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise ConfigError(
            "ONNX needs the packages onnx, onnxscript and onnxruntime",
            where="--to onnx",
            next_command="pip install -c constraints.txt '.[convert]'",
        ) from None
    return torch.onnx
