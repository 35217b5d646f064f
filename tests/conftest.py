"""What every test may ask for."""

from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run: a test that fails today failed yesterday.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder that holds pyproject.toml."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data(repository: Path) -> Path:
    """The folder `shared/data` beside the repository; a test that asks for it skips without."""
    for above in ("..", "../.."):
        folder = (repository / above / "shared" / "data").resolve()
        if folder.is_dir():
            return folder
    pytest.skip("no folder shared/data beside the repository")
