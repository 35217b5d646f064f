"""The floors of the package: who may import whom. The contracts are in pyproject.toml."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FORBIDDEN_NAMES = {"utils", "util", "common", "misc", "core", "helpers", "helper", "base"}

LINT = (
    "import sys; from importlinter.cli import lint_imports; "
    "sys.exit(lint_imports({config!r}, no_cache=True))"
)


def lint(source: Path, repository: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts for the package below `source`, which is found first."""
    return subprocess.run(
        [sys.executable, "-c", LINT.format(config=str(repository / "pyproject.toml"))],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_import_goes_down_and_none_in_a_circle(repository: Path) -> None:
    result = lint(repository / "src", repository)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        pytest.param("nn/norm.py", "import ownlm.models.config", id="upward"),
        pytest.param("data/config.py", "import ownlm.models.config", id="sideways"),
        pytest.param(
            "tokenization/config.py",
            "def late() -> None:\n    import ownlm.tokenization.load\n",
            id="a circle inside a folder, by a late import",
        ),
        pytest.param("recipes/config.py", "import torch", id="torch before options are parsed"),
    ],
)
def test_a_forbidden_import_is_found(
    module: str, line: str, repository: Path, tmp_path: Path
) -> None:
    shutil.copytree(repository / "src" / "ownlm", tmp_path / "ownlm")
    with open(tmp_path / "ownlm" / module, "a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    result = lint(tmp_path, repository)
    assert result.returncode == 1
    assert "BROKEN" in result.stdout, result.stdout + result.stderr


def test_names_say_what_is_inside(repository: Path) -> None:
    names = {path.stem for path in (repository / "src" / "ownlm").rglob("*")}
    assert not names & FORBIDDEN_NAMES


def test_packages_are_empty_but_for_a_docstring(repository: Path) -> None:
    """Code in a folder's __init__ would be imported with any file of it, torch included."""
    for path in (repository / "src" / "ownlm").rglob("*/__init__.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assert len(body) == 1, path
        assert isinstance(body[0], ast.Expr), path


def test_files_are_short(repository: Path) -> None:
    for path in (repository / "src").rglob("*.py"):
        lines = path.read_text(encoding="utf-8").count("\n")
        assert lines <= 300, f"{path.relative_to(repository)} has {lines} lines"
