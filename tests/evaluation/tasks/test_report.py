"""The page and the terminal: complete for every kind, and safe with any text in it."""

import base64
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ownlm.data.tasks.predictions import Classified, Estimate, Extract, Tagging, Writing
from ownlm.errors import ConfigError
from ownlm.evaluation import curves
from ownlm.evaluation.tasks.display import show
from ownlm.evaluation.tasks.judge import judge
from ownlm.evaluation.tasks.judgement import Judgement
from ownlm.evaluation.tasks.report import write_task_report

ATTACKS = [
    "<script>alert(1)</script>",
    "</pre></details><img src=x onerror=alert(1)>",
    "'\"><svg/onload=alert(1)>",
    "<style>@import 'http://evil.example/x.css'</style>",
    "]]><!--<script>-->\x00\x1b[31m\u202e\ud800",
    "$\\frac{1}{$ [red]text[/red]",
]


class Elements(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def judged(make: Any, kind: str, text: str = "text") -> tuple[Judgement, Judgement]:
    """A judgement that has mistakes, and one of a baseline."""
    two = (text, f"not {text}")
    cases: dict[str, tuple[list[Any], list[Any]]] = {
        "classify": (
            [make.labelled(two[n % 2], text=f"{text} {n}") for n in range(12)],
            [Classified((two[0],), {two[0]: 0.8, two[1]: 0.2})] * 12,
        ),
        "regress": (
            [make.scored(float(n), text=f"{text} {n}", pair=text) for n in range(12)],
            [Estimate(float(n // 2)) for n in range(12)],
        ),
        "tag": (
            [make.tagged([f"B-{text}", "O"], [text, f"b{n}"]) for n in range(12)],
            [Tagging((f"B-{text}" if n % 2 else "O", "O"), (0.9, 0.8)) for n in range(12)],
        ),
        "span": (
            [make.question(text, context=f"{n} {text}", question=text) for n in range(12)],
            [Extract(f"{text} {text}", 0)] * 12,
        ),
        "seq2seq": (
            [make.parallel(f"{text} {n}", text) for n in range(12)],
            [Writing(f"{text} and more")] * 12,
        ),
    }
    records, said = cases[kind]
    return judge(kind, records, said), judge(kind, records, said[::-1])


KINDS = {"classify": 4, "regress": 2, "tag": 4, "span": 1, "seq2seq": 1}
"""Plots of each, beside the one of the baselines."""


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_holds_all_of_a_judgement(make: Any, tmp_path: Path, kind: str) -> None:
    found, other = judged(make, kind)
    folder = tmp_path / "run"
    folder.mkdir()
    rows = [{"step": n, "loss": 4.0 - n / 10} for n in range(10)]
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "recipe.yaml").write_text("task: something\nmodel: {family: bert}\n")
    path = write_task_report(
        folder, found, {"untuned model": other}, {"Data": {"train": 12_345}},
        commands=["ownlm predict run FILE"],
    )  # fmt: skip
    content = path.read_text(encoding="utf-8")
    for expected in ("untuned model", "12,345", "bert", "ownlm predict run FILE", "made.tsv:",
                     "percentile bootstrap over"):  # fmt: skip
        assert expected in content
    assert content.count("<img ") == KINDS[kind] + 2
    assert content.count("<details") == len(found.mistakes) > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_no_text_becomes_markup(
    make: Any, tmp_path: Path, kind: str, attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves, "drawn", lambda *_, **__: b"<svg/>")

    def tags(text: str) -> list[tuple[str, dict[str, str | None]]]:
        found, other = judged(make, kind, text)
        path = write_task_report(tmp_path / "run", found, {text: other}, {text: {text: text}})
        return Elements(path.read_text(encoding="utf-8")).tags

    plain, hostile = tags("text"), tags(attack)
    assert {tag for tag, _ in hostile} <= {tag for tag, _ in plain}
    for _, attributes in hostile:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    sources = [str(a["src"]) for tag, a in hostile if tag == "img"]
    assert sources and all(one.startswith("data:image/svg+xml;base64,") for one in sources)


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_label_becomes_markup_in_a_plot(make: Any, tmp_path: Path, attack: str) -> None:
    def elements(text: str) -> set[str]:
        found, other = judged(make, "classify", text)
        content = write_task_report(tmp_path, found, {text: other}).read_text(encoding="utf-8")
        plots = [base64.b64decode(one) for one in re.findall(r"svg\+xml;base64,([^\"]+)", content)]
        parts = [part for one in plots for part in ElementTree.fromstring(one).iter()]
        assert not [name for part in parts for name in part.attrib if name.startswith("on")]
        return {part.tag for part in parts}

    assert elements(attack) == elements("text")


def test_labels_of_any_script_stay_letters(make: Any, tmp_path: Path) -> None:
    found, other = judged(make, "classify", "好评")
    content = write_task_report(tmp_path, found, {"基线": other}).read_text(encoding="utf-8")
    drawn = [base64.b64decode(one).decode() for one in re.findall(r"base64,([^\"]+)", content)]
    assert any("好评" in one for one in drawn) and any("基线" in one for one in drawn)


def test_without_matplotlib_it_says_so(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> bytes:
        raise ConfigError("matplotlib is not installed", next_command='pip install "ownlm[report]"')

    monkeypatch.setattr(curves, "drawn", missing)
    found, other = judged(make, "classify")
    content = write_task_report(tmp_path, found, {"b": other}).read_text(encoding="utf-8")
    assert "<img" not in content and "ownlm[report]" in content and "made.tsv:" in content


def test_without_mistakes_or_others_there_is_a_page_too(make: Any, tmp_path: Path) -> None:
    found = judge("classify", [make.labelled("a"), make.labelled("b")],
                  [Classified(("a",)), Classified(("b",))])  # fmt: skip
    assert "There are none." in write_task_report(tmp_path, found, {}).read_text(encoding="utf-8")


def test_the_same_judgement_gives_the_same_bytes(make: Any, tmp_path: Path) -> None:
    found, other = judged(make, "classify")
    one = write_task_report(tmp_path, found, {"b": other}).read_bytes()
    assert one == write_task_report(tmp_path, found, {"b": other}).read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_terminal_shows_figures_labels_and_mistakes(make: Any, kind: str) -> None:
    found, other = judged(make, kind, "[red]text[/red]")
    out = io.StringIO()
    show(found, {"untuned": other}, Console(file=out, width=160), "tuned")
    text = out.getvalue()
    for expected in ("tuned", "untuned", "[red]text[/red]", "made.tsv:", "intervals: 95 %"):
        assert expected in text
    assert text.count("  said:  ") == min(5, len(found.mistakes))
