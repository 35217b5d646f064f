"""Small files and what is read from them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ownlm.data.tasks.config import TaskDataConfig
from ownlm.data.tasks.load import TaskData, read_task

Put = Callable[[str, str | bytes], Path]
Read = Callable[..., TaskData]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """put(name, content): a file below tmp_path/data, parents made."""

    def put(name: str, content: str | bytes) -> Path:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return put


@pytest.fixture
def read() -> Read:
    """read(path, task, **config): records and faults together."""

    def read(path: Path, task: Any = "classify", **values: Any) -> TaskData:
        return read_task(TaskDataConfig.parse({"path": str(path)} | values), task)

    return read
