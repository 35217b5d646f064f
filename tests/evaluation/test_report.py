"""report.html: complete, self-contained, and safe with any text in it."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ownlm.errors import ConfigError
from ownlm.evaluation import curves
from ownlm.evaluation.report import (
    next_commands,
    parameters_of,
    read_samples,
    stored_parameters,
    write_report,
)
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model, count_parameters, save_model

ATTACKS = [
    "<script>alert(1)</script>",
    "</pre></details><img src=x onerror=alert(1)>",
    "'\"><svg/onload=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "<style>@import 'http://evil.example/x.css'</style>",
    '<meta http-equiv="refresh" content="0;url=http://evil.example">',
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "]]><!--<script>-->\x00\x1b[31m\u202e\ud800",
]


class Elements(HTMLParser):
    """Every tag with its attributes, the text of <pre>, and the style sheet."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.pre: list[str] = []
        self.style = ""
        self._inside = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "pre":
            self.pre.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "pre":
            self.pre[-1] += data
        elif self._inside == "style":
            self.style += data


def run_folder(folder: Path, sample: str = "def f():\n    pass", **recipe: object) -> Path:
    rows: list[dict[str, object]] = []
    for step in range(0, 100, 10):
        loss = 4.0 / (1 + step / 50)
        speed = 100.0 + step
        rows += [{"step": step, "loss": loss, "lr": 1e-3, "tokens": step * 64, "bpb": loss / 2}]
        rows += [{"step": step, "tokens_per_second": speed, "grad_norm": 1.0}]
    figures = {"validation_loss": 1.5, "validation_perplexity": 4.48, "validation_bpb": 0.75}
    rows += [{"step": 90, **figures}]
    folder.mkdir(parents=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {"recipe": "demo", "model": {"family": "llama", "layers": 4}} | recipe
    (folder / "recipe.yaml").write_text(json.dumps(values))
    samples = f"# Samples\n\n## step 50\n\nearly\n\n## step 90\n\n{sample}\n"
    (folder / "samples.md").write_text(samples, encoding="utf-8", errors="surrogatepass")
    return folder


def test_it_holds_numbers_plots_samples_configuration_and_commands(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run 1")
    content = write_report(run, {"Data": {"documents": 12_345}}).read_text(encoding="utf-8")
    for expected in ("1.5000", "4.48", "0.7500", "145", "12,345", "llama", "def f():"):
        assert expected in content
    assert "ownlm chat &#x27;" in content  # quoted for the shell: the folder has a space
    assert content.count("<img ") == 5 and content.index("step 90") < content.index("step 50")


@pytest.mark.usefixtures("quick")
def test_the_finished_model_goes_before_the_evaluations_during_training(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    assert "best of the run" in write_report(run).read_text(encoding="utf-8")
    figures = {"loss": 1.625, "perplexity": 5.08, "bits_per_byte": None, "predicted": 9}
    (run / "evaluation.json").write_text(json.dumps(figures))
    content = write_report(run).read_text(encoding="utf-8")
    assert "1.6250" in content and "5.08" in content and "over all of the text" in content
    assert "1.5000" not in content and "0.7500" not in content
    (run / "evaluation.json").write_text('{"loss": ')
    assert "1.5000" in write_report(run).read_text(encoding="utf-8")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots are drawn in other tests."""
    monkeypatch.setattr(curves, "svg", lambda panel: b"<svg/>")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("attack", ATTACKS)
def test_no_text_becomes_markup(tmp_path: Path, attack: str) -> None:
    plain = Elements(write_report(run_folder(tmp_path / "plain")).read_text(encoding="utf-8"))
    run = run_folder(tmp_path / "run", attack, note=attack, out=attack)
    facts = {attack: {attack: attack}, "Data": {"x": "y"}}
    found = Elements(write_report(run, facts).read_text(encoding="utf-8"))
    assert {tag for tag, _ in found.tags} <= {tag for tag, _ in plain.tags}
    assert not [a for _, attrs in found.tags for a in attrs if a.startswith("on") or a == "style"]
    shown = attack.replace("\x00", "\ufffd").replace("\x1b", "\ufffd")
    assert any(shown.split("\u202e")[0] in text for text in found.pre)


def test_nothing_is_fetched_and_the_policy_allows_this_style_alone(tmp_path: Path) -> None:
    found = Elements(write_report(run_folder(tmp_path / "run")).read_text(encoding="utf-8"))
    addresses = [v for _, attrs in found.tags for k, v in attrs.items() if k in ("src", "href")]
    assert addresses and all(str(a).startswith("data:image/svg+xml;base64,") for a in addresses)
    assert "url(" not in found.style and "@import" not in found.style
    policy = next(str(a["content"]) for t, a in found.tags if a.get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256(found.style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_without_matplotlib_it_says_so_and_shows_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(panel: object) -> bytes:
        raise ConfigError("matplotlib is not installed", next_command='pip install "ownlm[report]"')

    monkeypatch.setattr(curves, "svg", missing)
    content = write_report(run_folder(tmp_path / "run")).read_text(encoding="utf-8")
    assert "<img" not in content and "ownlm[report]" in content and "def f():" in content
    assert "ownlm[report]" in capsys.readouterr().err


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("missing", ["log.jsonl", "recipe.yaml", "samples.md", "all"])
def test_an_incomplete_run_still_gets_a_report(tmp_path: Path, missing: str) -> None:
    run = run_folder(tmp_path / "run")
    for path in run.iterdir():
        if missing in (path.name, "all"):
            path.unlink()
    assert "What to type next" in write_report(run).read_text(encoding="utf-8")


def test_samples_are_parted_at_steps_not_at_their_own_headings(tmp_path: Path) -> None:
    (tmp_path / "samples.md").write_text("# S\n\n## step 1\n\n## Heading\ntext\n\n## step 2\n\nb\n")
    samples = read_samples(tmp_path / "samples.md")
    assert [(s.title, s.text) for s in samples] == [("step 2", "b"), ("step 1", "## Heading\ntext")]


def test_samples_lose_the_indentation_that_makes_them_code(tmp_path: Path) -> None:
    text = "## step 3\n\n    def f():\n        pass\n    \n    x\n\n"
    (tmp_path / "samples.md").write_text(text)
    assert read_samples(tmp_path / "samples.md")[0].text == "def f():\n    pass\n\nx"


def test_parameters_are_counted_from_the_headers(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    assert stored_parameters(tmp_path) is None
    save_file({"a": torch.zeros(3, 4), "b": torch.zeros(5)}, tmp_path / "model.safetensors")
    assert stored_parameters(tmp_path) == 17
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 8)
    assert stored_parameters(tmp_path) is None


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


def test_commands_survive_any_folder_name() -> None:
    commands = next_commands(Path("my run's"))
    assert all(re.search(r"'my run'\"'\"'s'", command) for command in commands)


@pytest.mark.parametrize(
    ("kind", "verb"), [("masked", "finetune classify"), ("spans", "finetune seq2seq"),
                       ("causal", "chat"), ("permutation", "finetune classify")],
)  # fmt: skip
def test_commands_are_those_that_the_model_can_do(kind: str, verb: str, tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", objective={"kind": kind})
    assert next_commands(run)[0].startswith(f"ownlm {verb} ")


def test_parameters_are_those_of_the_model_not_of_its_files(tmp_path: Path) -> None:
    """GPT-2's files hold biases that are always zero."""
    config = ModelConfig(layers=1, dim=8, heads=2, context=8, vocab=20, bias=False)
    model = build_model(config, seed=0)
    save_model(model, tmp_path)
    assert parameters_of(tmp_path) == count_parameters(model) < stored_parameters(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "of the future"}')
    assert parameters_of(tmp_path) == stored_parameters(tmp_path)
