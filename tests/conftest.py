"""What every test may ask for."""

import signal
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run: a test that fails today failed yesterday.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """Ctrl-C is Python's, also where a script runs the tests in the background and ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of parity: a row a family and head, when such tests ran."""
    worst: dict[str, tuple[float, float]] = {}
    reports = (report for group in terminalreporter.stats.values() for report in group)
    for report in reports:
        for name, value in getattr(report, "user_properties", ()):
            if name == "parity":
                row, difference, control = value
                before = worst.get(row, (0.0, float("inf")))
                worst[row] = max(before[0], difference), min(before[1], control)
    if worst:
        terminalreporter.section("parity: largest difference / largest number, of the control too")
    for row, (difference, control) in worst.items():
        terminalreporter.write_line(f"{row:<40} {difference:.1e}   {control:.1e}")
