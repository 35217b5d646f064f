"""GGUF files as models: llama.cpp's names and numbers turned into config.json and tensor names.

llama.cpp stores what its kernels want: rotary pairs side by side (LLaMA), norm weights around
one (Gemma), GPT-2's matrices transposed. All of it is undone here, so that everything above sees
a Hugging Face folder.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ownlm.config import nearest
from ownlm.errors import CheckpointError
from ownlm.models.gguf import GGUF, Stored
from ownlm.models.gguf_blocks import dequantise
from ownlm.models.gguf_layouts import LAYOUTS, ROPE_FACTORS, Keys, Layout
from ownlm.models.tensors import TYPES, Entry

ENDS = ("eot", "eom")
"""What ends a turn, and a message with a call in it: `tokenizer.ggml.X_token_id`."""
_PLAIN = ("F32", "F16", "BF16")
_LAYER = re.compile(r"^blk\.(\d+)\.")


def layout_of(file: GGUF) -> Layout:
    """The layout of a file's architecture; CheckpointError names the known ones."""
    name = file.metadata.get("general.architecture")
    if isinstance(name, str) and name in LAYOUTS:
        return LAYOUTS[name]
    close = nearest(name, list(LAYOUTS)) if isinstance(name, str) else None
    hint = f", nearest is {close}" if close else ""
    raise CheckpointError(
        f"general.architecture: {name!r:.60} is not supported{hint}; known: {', '.join(LAYOUTS)}",
        where=str(file.path),
    )


def config_of(file: GGUF) -> dict[str, Any]:
    """The config.json that a file's metadata amounts to."""
    keys = Keys(file)
    values = layout_of(file).config(keys)
    if keys.get("expert_count"):
        raise keys.fault("expert_count", "mixtures of experts cannot be read from GGUF files")
    return values | {"tie_word_embeddings": keys.tied} | _control_ids(file.metadata)


def _control_ids(metadata: Mapping[str, Any]) -> dict[str, Any]:
    ids = {
        role: metadata.get(f"tokenizer.ggml.{key}_token_id")
        for role, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"))
    }
    ends = [ids["eos"], *(metadata.get(f"tokenizer.ggml.{key}_token_id") for key in ENDS)]
    ends = list(dict.fromkeys(id for id in ends if id is not None))
    if ids["eos"] is not None and len(ends) > 1:
        ids["eos"] = ends
    return {f"{role}_token_id": id for role, id in ids.items()}


class GGUFTensors:
    """The tensors of a file under the names and shapes of a Hugging Face folder."""

    def __init__(self, file: GGUF) -> None:
        config = config_of(file)
        self._file, self._layout, self._config = file, layout_of(file), config
        left = {ROPE_FACTORS} | ({"output.weight"} if config["tie_word_embeddings"] else set())
        self._theirs = {self._name(name): name for name in file.tensors if name not in left}
        self.entries = {
            name: self._entry(theirs, file.tensors[theirs]) for name, theirs in self._theirs.items()
        }

    def read(self, name: str) -> Tensor:
        """One tensor: as it is stored where that is a floating-point type, else in float32."""
        theirs = self._theirs[name]
        stored, data = self._file.tensors[theirs], self._file.data(theirs)
        if stored.form.name in _PLAIN:
            tensor = torch.from_numpy(np.array(data)).view(TYPES[stored.form.name])
        else:
            tensor = torch.from_numpy(dequantise(data, stored.form))
        tensor = tensor.reshape(stored.shape)
        if self._layout.around_one and theirs.endswith("norm.weight"):
            tensor = (tensor.float() - 1).to(tensor.dtype)
        if self._layout.rotated and (heads := self._heads(theirs)):
            return _parted(tensor, heads)
        return tensor.T if self._is_transposed(theirs) else tensor

    def read_into(self, name: str, to: Tensor) -> bool:
        """Never: all tensors are converted."""
        return False

    def mapped(self, names: Sequence[str], dtype: torch.dtype) -> Tensor | None:
        """Never."""
        return None

    def _entry(self, theirs: str, stored: Stored) -> Entry:
        shape = stored.shape[::-1] if self._is_transposed(theirs) else stored.shape
        dtype = stored.form.name if stored.form.name in _PLAIN else "F32"
        return Entry(dtype, shape, stored.begin, stored.end)

    def _name(self, theirs: str) -> str:
        """The folder's name; one that the table lacks stands for itself and is refused later."""
        base, _, leaf = theirs.rpartition(".")
        layer = _LAYER.match(base)
        inner = self._layout.names.get(base[layer.end() :] if layer else base)
        if inner is None:
            return theirs
        return f"{self._layout.layers}{layer[1]}.{inner}.{leaf}" if layer else f"{inner}.{leaf}"

    def _heads(self, theirs: str) -> int:
        if ".attn_q." in theirs:
            return int(self._config["num_attention_heads"])
        return int(self._config["num_key_value_heads"]) if ".attn_k." in theirs else 0

    def _is_transposed(self, theirs: str) -> bool:
        base = _LAYER.sub("", theirs)
        return base.endswith(".weight") and base.removesuffix(".weight") in self._layout.transposed


def _parted(tensor: Tensor, heads: int) -> Tensor:
    """Rows of each head from pairs side by side to first halves, then second halves."""
    if tensor.shape[0] % (2 * heads):
        return tensor  # of a wrong shape, which is refused with all others
    pairs: Tensor = tensor.unflatten(0, (heads, -1, 2))
    return pairs.transpose(1, 2).flatten(0, 2)
