"""Models as ONNX files; torch records the model once, with all sizes open.

    decoder           input_ids (B, T)                           logits (B, T, V)
    encoder           input_ids, attention_mask,                 logits, or without a head
                      token_type_ids where it has types          last_hidden_state (B, T, D)
    encoder-decoder   input_ids, attention_mask (B, S),          logits (B, T, V)
                      decoder_input_ids (B, T)

A decoder that writes needs no mask, for padding behind a text is never seen; padding must stand
behind in the others too. There is no input for earlier keys and values: each step of a generation
reads the whole text.
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
from ownlm.models.model import EncoderDecoder, Model, SingleStack
from ownlm.nn import attention
from ownlm.nn import mask as masks
from ownlm.nn.mask import Mask

FILE = "model.onnx"
LARGEST = 2_000_000_000
"""Bytes: what one ONNX file can hold is two gigabytes."""
IDS, MASK, TYPES, WRITTEN = "input_ids", "attention_mask", "token_type_ids", "decoder_input_ids"


class Recorded(nn.Module):
    """A model as a function of tensors alone, by the names that files give them."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.inputs = [IDS]
        if model.writer is None:
            self.inputs.append(MASK)
            if model.architecture.embed.types > 1:
                self.inputs.append(TYPES)
        if isinstance(model, EncoderDecoder):
            self.inputs.append(WRITTEN)
        a = model.architecture
        classes = a.task.outputs if a.task else 0
        self.output = "logits" if a.head.vocab or classes else "last_hidden_state"

    def forward(
        self, ids_BT: Tensor, mask_BT: Tensor | None = None, other_BT: Tensor | None = None
    ) -> Tensor:
        """What `output` names; `other` are types, or what a decoder has written."""
        if isinstance(self.model, EncoderDecoder):
            logits: Tensor = self.model(ids_BT, other_BT, mask_BT).logits
            return logits
        output = self.model(ids_BT, mask=mask_BT, types=other_BT)
        found: Tensor = output.logits if self.output == "logits" else output.hidden
        return found


def recorded(model: Model) -> Recorded:
    """The model to record; ConfigError for one that this does not cover."""
    written = isinstance(model, EncoderDecoder) and model.task is None
    if (not written and type(model) is not SingleStack) or model.family.make is not None:
        raise ConfigError(
            f"{model.family.name}{model.architecture.form} cannot be written as ONNX",
            where="--to onnx",
            next_command="writable: stacks of blocks, and encoder-decoders that write",
        )
    return Recorded(model).eval()


def write_onnx(model: Model, path: Path) -> None:
    """Record a model and write it; ConfigError for one that this does not record."""
    onnx, made = _package(), recorded(model)
    if (size := 4 * sum(p.numel() for p in model.parameters())) > LARGEST:
        raise ConfigError(
            f"{readable(size)} in 32 bits, and an ONNX file holds {readable(LARGEST)}",
            where="--to onnx",
            next_command="--to gguf has no such limit",
        )
    batch, longest = torch.export.Dim("batch", min=1, max=4096), max(model.context, 10)
    tokens, written = (torch.export.Dim(n, min=2, max=longest) for n in ("tokens", "written"))
    axes = tuple({0: batch, 1: written if name == WRITTEN else tokens} for name in made.inputs)
    given = tuple(torch.ones(2, 7 if name == WRITTEN else 9, dtype=torch.long)
                  for name in made.inputs)  # fmt: skip
    with disk_errors(path), _traceable(), _quiet(), torch.no_grad():
        make_folder(path.parent)
        program = onnx.export(
            made, given, dynamo=True, dynamic_shapes=axes, input_names=made.inputs,
            output_names=[made.output], verbose=False,
        )  # fmt: skip
        program.save(str(path))
        sync_file(path)


@contextlib.contextmanager
def _traceable() -> Iterator[None]:
    """The same without native kernels, which ONNX has not, and with places for positions, which
    padding behind a text does not shift."""
    kept = attention.attend, masks.count_positions
    attention.attend, masks.count_positions = _attend, _places
    try:
        yield
    finally:
        attention.attend, masks.count_positions = kept


def _places(segments_BS: Tensor) -> Tensor:
    return torch.arange(segments_BS.shape[1]).expand_as(segments_BS)


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
