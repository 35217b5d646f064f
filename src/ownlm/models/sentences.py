"""Embeddings of sentences: an encoder and the pooling that a sentence-transformers folder states.

Sentence-BERT (Reimers & Gurevych 2019, arXiv:1908.10084). modules.json lists the parts: the
model, a pooling in a folder of its own, and whether vectors are brought to length one.

Shapes: B batch, T tokens, D width.
"""

import json
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ownlm.errors import CheckpointError
from ownlm.files import make_folder, write_json
from ownlm.models.hf_config import Reader
from ownlm.models.load import load_model, save_model
from ownlm.models.model import SingleStack
from ownlm.nn.task import pool

Pooling = Literal["first", "mean", "last"]
MODES: dict[str, Pooling] = {
    "pooling_mode_cls_token": "first",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}
"""Flags of a pooling's config.json; other flags must be off."""
TYPE = "sentence_transformers.models."


class Embedder(nn.Module):
    """A vector for each sentence."""

    def __init__(self, model: SingleStack, pooling: Pooling, normalised: bool) -> None:
        super().__init__()
        self.model, self.pooling, self.normalised = model, pooling, normalised

    def forward(self, ids_BT: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, D); `mask` is 0 at padding."""
        vectors_BD = pool(self.model(ids_BT, mask).hidden, mask, self.pooling)
        return F.normalize(vectors_BD, dim=-1) if self.normalised else vectors_BD

    def save(self, folder: Path | str) -> None:
        """A folder that sentence-transformers opens."""
        folder = Path(folder)
        save_model(self.model, folder)
        parts = ["Transformer", "Pooling", *(["Normalize"] if self.normalised else [])]
        paths = ["", *(f"{i}_{part}" for i, part in enumerate(parts) if i)]
        for path in paths:
            make_folder(folder / path)
        modes = {flag: self.pooling == kind for flag, kind in MODES.items()}
        width = self.model.architecture.stack.dim
        write_json(folder / paths[1] / "config.json", {"word_embedding_dimension": width, **modes})
        modules = [
            {"idx": i, "name": str(i), "path": path, "type": TYPE + part}
            for i, (part, path) in enumerate(zip(parts, paths, strict=True))
        ]
        write_json(folder / "modules.json", modules)


def is_embedder(folder: Path) -> bool:
    """Whether a folder says how its vectors are pooled."""
    return (folder / "modules.json").is_file()


def pooling_of(folder: Path) -> Pooling:
    """How a folder pools; CheckpointError names what cannot be done."""
    return _pooling(_parts(folder)[1] / "config.json")


def load_embedder(
    folder: Path | str,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> Embedder:
    """The embedder in a folder; CheckpointError names what it cannot do."""
    transformer, pooling, normalised = _parts(Path(folder))
    model, _ = load_model(transformer, device, dtype)
    return Embedder(model, _pooling(pooling / "config.json"), normalised).eval()


def _parts(folder: Path) -> tuple[Path, Path, bool]:
    """Where model and pooling lie, and whether vectors are brought to length one."""
    where = str(folder / "modules.json")
    modules = _read(folder / "modules.json", list)
    named = [m for m in modules if isinstance(m, dict)]
    kinds = [str(m.get("type", "")).rpartition(".")[2] for m in named]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise CheckpointError(
            f"parts {kinds!r:.120} are not supported, only Transformer, Pooling and Normalize",
            where=where,
        )
    transformer, pooling = (_inside(folder, m.get("path", ""), where) for m in named[:2])
    return transformer, pooling, len(kinds) == 3


def _inside(folder: Path, path: Any, where: str) -> Path:
    """A part's folder, which must lie in the model's."""
    if not isinstance(path, str) or Path(path).is_absolute() or ".." in Path(path).parts:
        raise CheckpointError(f"path {path!r:.80} leads out of the folder", where=where)
    return folder / path


def _pooling(path: Path) -> Pooling:
    values = _read(path, dict)
    h = Reader(values, str(path))
    flags = [key for key in values if key.startswith("pooling_mode_") and h.flag(key, False)]
    if len(flags) != 1 or flags[0] not in MODES:
        raise h.fault("pooling_mode", f"{flags!r:.120} is not supported, only one of {[*MODES]}")
    return MODES[flags[0]]


def _read(path: Path, kind: type) -> Any:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"not JSON: {error}", where=str(path)) from None
    if not isinstance(values, kind):
        raise CheckpointError(f"expected a {kind.__name__}", where=str(path))
    return values
