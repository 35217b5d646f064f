"""The README holds: its commands run as written, its tree is the one on disk, both languages agree.

Every block of code is preceded by a comment that says what becomes of it here:

    <!-- run -->                      the commands are run, in order, in one folder
    <!-- run tiny -->                 the same, with TINY appended to `ownlm pretrain` and
                                      TUNED to `ownlm finetune`
    <!-- shown: REASON -->            not run
    <!-- tree -->                     the annotated tree
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

README, CHINESE = "README.md", "README.zh.md"

TINY = (
    "--model.layers 1 --model.dim 32 --model.context 32 "
    "--train.batch 4 --train.steps 4 --train.evaluate-every 2 --train.sample-every 0"
)

TUNED = (
    "--shape.layers 1 --shape.dim 32 --tokenizer.vocab-size 300 --train.steps 4 --train.batch 4 "
    "--judged 4"
)

BLOCK = re.compile(
    r"(?:<!-- (?P<mark>[^>]*) -->\n)?```(?P<kind>\w*)\n(?P<body>.*?)^```", re.S | re.M
)


class Block(NamedTuple):
    mark: str
    kind: str
    body: str


def blocks(path: Path) -> list[Block]:
    found = BLOCK.finditer(path.read_text(encoding="utf-8"))
    return [Block(m["mark"] or "", m["kind"], m["body"]) for m in found]


@pytest.mark.parametrize("name", [README, CHINESE])
def test_every_block_says_what_becomes_of_it(name: str, repository: Path) -> None:
    for block in blocks(repository / name):
        known = block.mark in ("run", "run tiny", "tree") or block.mark.startswith("shown: ")
        assert known, f"{name}: {block.mark!r} before\n{block.body}"
        if block.mark.startswith("run"):
            assert block.kind in ("bash", "python")


def test_both_languages_show_the_same_commands(repository: Path) -> None:
    def commands(name: str) -> list[tuple[str, str]]:
        return [(b.mark, b.body) for b in blocks(repository / name) if b.mark.startswith("run")]

    assert commands(README) == commands(CHINESE)
    assert len(commands(README)) >= 5


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A folder with text of one's own, and `ownlm` on the path."""
    folder = tmp_path_factory.mktemp("readme")
    sentences = "The harbour was quiet at noon. A boat came in, and nobody looked up.\n"
    (folder / "my_text").mkdir()
    for number in range(3):
        (folder / "my_text" / f"part {number}.txt").write_text(
            sentences * (40 + number), encoding="utf-8"
        )
    (folder / "other.txt").write_text(sentences[::-1] * 20, encoding="utf-8")
    pairs = (f"{n} boats came in\tes kamen {n} Boote\n" for n in range(60))
    (folder / "pairs.tsv").write_text("".join(pairs), encoding="utf-8")
    mail = (f"{('win a boat', 'see you at noon')[n % 2]} {n},{('spam', 'ham')[n % 2]}\n"
            for n in range(60))  # fmt: skip
    (folder / "mail.csv").write_text("text,label\n" + "".join(mail), encoding="utf-8")
    names = (f"Ada\tB-person\nsailed\tO\nto\tO\nOslo{n}\tB-place\n\n" for n in range(60))
    (folder / "entities.conll").write_text("".join(names), encoding="utf-8")
    command = folder / "bin" / "ownlm"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ownlm "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return folder


def run(block: Block, folder: Path, repository: Path) -> subprocess.CompletedProcess[str]:
    words = ["bash", "-euo", "pipefail", "-c"] if block.kind == "bash" else [sys.executable, "-c"]
    body = block.body
    if block.mark == "run tiny":
        body = re.sub(r"^(ownlm pretrain .*)$", rf"\1 {TINY}", body, flags=re.M)
        body = re.sub(r"^(ownlm finetune .*)$", rf"\1 {TUNED}", body, flags=re.M)
    paths = {
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(repository / "src"),
    }
    return subprocess.run(
        [*words, body],
        cwd=folder,
        env={**os.environ, **paths},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_commands_run_as_written(place: Path, repository: Path) -> None:
    for block in blocks(repository / README):
        if block.mark.startswith("run"):
            result = run(block, place, repository)
            assert result.returncode == 0, f"{block.body}\n{result.stdout}\n{result.stderr}"


def tree(repository: Path, name: str) -> dict[str, set[str]]:
    """Folders of the annotated tree and the names of the files it gives for each.

    A line `    data/   purpose` is followed by deeper ones with names, separated by spaces, and
    by folders inside of it, deeper still.
    """
    (block,) = [b for b in blocks(repository / name) if b.mark == "tree"]
    folders: dict[str, set[str]] = {}
    above: list[tuple[int, str]] = []
    for line in block.body.splitlines():
        first = line.split()[0]
        if first.endswith("/"):
            depth = len(line) - len(line.lstrip())
            above = [one for one in above if one[0] < depth] + [(depth, first.rstrip("/"))]
            folders["/".join(folder for _, folder in above)] = set()
        else:
            folders["/".join(folder for _, folder in above)] |= set(line.split())
    return folders


@pytest.mark.parametrize("name", [README, CHINESE])
def test_the_tree_is_the_one_on_disk(name: str, repository: Path) -> None:
    source = repository / "src"
    folders = tree(repository, name)
    packages = [path.parent for path in (source / "ownlm").rglob("__init__.py")]
    on_disk = {path.relative_to(repository).as_posix(): path for path in packages}
    assert folders.keys() - {"tests", "benchmarks", "docs"} == on_disk.keys()
    for folder, path in on_disk.items():
        files = {p.stem for p in path.glob("*.py")} - {"__init__", "__main__"}
        assert folders[folder] == files, folder
    for folder in ("tests", "benchmarks"):
        assert (repository / folder).is_dir()


@pytest.mark.parametrize("name", [README, CHINESE])
def test_links_lead_somewhere(name: str, repository: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (repository / name).read_text(encoding="utf-8")):
        assert (repository / target).exists(), target


def test_all_recipes_and_commands_are_in_the_readme(repository: Path) -> None:
    from ownlm.cli.main import COMMANDS
    from ownlm.recipes.named import RECIPES

    for name in (README, CHINESE):
        text = (repository / name).read_text(encoding="utf-8")
        for word in [*RECIPES, *(f"ownlm {command}" for command in COMMANDS)]:
            assert f"`{word}" in text or f"\n{word}" in text, f"{word} in {name}"
