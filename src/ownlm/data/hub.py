"""Datasets of the Hugging Face hub, downloaded when the user allows the network."""

import fnmatch
import os
import re
from typing import Any

from ownlm.data.config import DataConfig
from ownlm.data.sources import Found, Source, kind_of, shown, source
from ownlm.errors import DataError

_CONVERTED = "refs/convert/parquet"  # branch where the hub keeps every dataset as parquet


def looks_like_dataset(path: str) -> bool:
    """Whether `path` has the form owner/name of the hub."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", path) is not None


def find_dataset(name: str, config: DataConfig) -> Found:
    """Download the files of dataset `name` into the hub's cache and list them as sources.

    Of a dataset with ready splits the files for training are taken; `config.files` chooses
    others. Raises DataError when `config.online` is not set, and for every refusal of the hub.
    """
    if not config.online:
        raise DataError(
            "no such file or folder; it could be a dataset of the Hugging Face hub",
            where=name,
            next_command=f"to download it from there: --data {name} --data.online",
        )
    import huggingface_hub
    from huggingface_hub import errors

    refusals: tuple[type[Exception], ...] = (
        errors.HFValidationError,
        *_bases(errors.HfHubHTTPError),
    )
    try:
        revision, names = _listing(huggingface_hub.HfApi(), name, config)
        paths = [
            huggingface_hub.hf_hub_download(name, file, repo_type="dataset", revision=revision)
            for file in names
        ]
    except refusals as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"the hub refused: {reason}", where=name) from None
    place = f"hf://datasets/{name}@{revision[:12]}"
    return Found(f"{place}/", [_downloaded(path, file) for path, file in zip(paths, names)])


def choose(names: list[str], pattern: str) -> list[str]:
    """The files to read, sorted: those that match `pattern`, else those of the train split."""
    readable = sorted(file for file in names if kind_of(file))
    if pattern:
        return [file for file in readable if fnmatch.fnmatch(file, pattern)]
    readable = [file for file in readable if not file.lower().endswith((".md", ".py"))]
    train = [file for file in readable if re.search(r"(^|[/._-])train([/._-]|$)", file)]
    return train or readable


def _listing(api: Any, name: str, config: DataConfig) -> tuple[str, list[str]]:
    """The commit and the files to read, of the branch asked for or of the hub's parquet copy."""
    for branch in [config.revision] if config.revision else ["main", _CONVERTED]:
        info = api.dataset_info(name, revision=branch)
        names = [file.rfilename for file in info.siblings or []]
        if chosen := choose(names, config.files):
            return str(info.sha), chosen
    raise DataError(
        f"no file that is read here among its {len(names)}",
        where=f"hf://datasets/{name}",
        next_command="choose with --data.files 'PATTERN' and --data.revision BRANCH",
    )


def _downloaded(path: str, name: str) -> Source:
    real, kind = os.path.realpath(path), kind_of(name)
    assert kind, "only readable files were chosen"
    return source(real, shown(name), kind, os.stat(real))


def _bases(kind: type[Exception]) -> tuple[type[Exception], ...]:
    """An error and its bases: a lost connection is of the HTTP library's own class, which that
    library's name and version do not tell us, but it shares a base with the hub's errors."""
    return tuple(c for c in kind.__mro__ if issubclass(c, Exception) and c is not Exception)
