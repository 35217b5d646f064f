"""Weights to disk: one model.safetensors, or shards and the index that names them.

Readers prefer model.safetensors, so the switch between the two forms is one rename or one
removal: a crash leaves the old weights in force or the new ones. Only shards written over shards
can end up mixed; where that matters, save into a new folder (files.publish_folder).
"""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from ownlm.errors import ConfigError
from ownlm.files import disk_errors, make_folder, sync_file, sync_folder, write_json

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_SHARD = "model-{:05d}-of-{:05d}.safetensors"


def write_tensors(
    tensors: Mapping[str, Tensor], folder: Path, max_shard_bytes: int | None = None
) -> None:
    """Write a folder's weights; in files of at most `max_shard_bytes` where they take more.

    A tensor is never cut: one larger than the limit has a shard of its own. What an earlier
    save left in the other form is removed. Raises DiskError.
    """
    if max_shard_bytes is not None and max_shard_bytes < 1:
        raise ConfigError(f"expected 1 or more, found {max_shard_bytes}", where="max_shard_bytes")
    total = sum(_size(tensor) for tensor in tensors.values())
    with disk_errors(folder / SINGLE):
        folder.mkdir(parents=True, exist_ok=True)
        if max_shard_bytes is None or total <= max_shard_bytes:
            write_file(tensors, folder / SINGLE)
            _remove(folder, keep=())
        else:
            _write_shards(tensors, folder, max_shard_bytes)


def shards(tensors: Mapping[str, Tensor], limit: int) -> list[dict[str, Tensor]]:
    """Tensors in their order, a new group where the limit would be passed."""
    groups: list[dict[str, Tensor]] = []
    room = -1
    for name, tensor in tensors.items():
        if _size(tensor) > room:
            groups.append({})
            room = limit
        groups[-1][name] = tensor
        room -= _size(tensor)
    return groups


def _write_shards(tensors: Mapping[str, Tensor], folder: Path, limit: int) -> None:
    groups = shards(tensors, limit)
    names = [_SHARD.format(number, len(groups)) for number in range(1, len(groups) + 1)]
    for name, group in zip(names, groups, strict=True):
        write_file(group, folder / name)
    write_json(
        folder / INDEX,
        {
            "metadata": {
                "total_parameters": sum(tensor.numel() for tensor in tensors.values()),
                "total_size": sum(_size(tensor) for tensor in tensors.values()),
            },
            "weight_map": {
                key: name for name, group in zip(names, groups, strict=True) for key in group
            },
        },
    )
    (folder / SINGLE).unlink(missing_ok=True)
    _remove(folder, keep=(*names, INDEX))


def write_file(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Replace one safetensors file at once. Raises DiskError."""
    partial = path.with_name(f".{path.name}.partial")
    with disk_errors(path):
        make_folder(path.parent)
        save_file(dict(tensors), partial, metadata={"format": "pt"})
        sync_file(partial)
        partial.replace(path)
        sync_folder(path.parent)


def _remove(folder: Path, keep: tuple[str, ...]) -> None:
    """Delete shards and index of an earlier save, the index first."""
    for path in [folder / INDEX, *sorted(folder.glob("model-*-of-*.safetensors"))]:
        if path.name not in keep and path.is_file():
            path.unlink()
    sync_folder(folder)


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.itemsize
