"""`ownlm data show`: the tokens are those that the run would learn from."""

import itertools
import json
from pathlib import Path

import pytest

from ownlm.cli.main import main

SMALL = (
    "--tokenizer.vocab-size 400 --model.layers 1 --model.dim 16 --model.heads 2 "
    "--model.kv-heads 0 --model.context 48 --train.batch 4"
).split()


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("The keeper of the harbour slept. Nobody sang at night! " * 40)
    return path


def shown(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, list[dict]]:
    assert main(["data", "show", *args, *SMALL, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("recipe", "sides"), [
    ("llama-mini", ["reads"]), ("bert", ["reads"]), ("electra", ["reads"]), ("xlnet", ["reads"]),
    ("t5", ["source", "target"]), ("bart", ["source", "target"]),
])  # fmt: skip
def test_every_objective_can_be_looked_at(
    recipe: str, sides: list[str], text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = shown(capsys, recipe, "--data", str(text))
    assert list(found) == sides
    assert any(token["learns"] is not None for token in found[sides[-1]])
    assert [token["place"] for token in found[sides[0]]] == list(range(len(found[sides[0]])))


def test_the_next_token_is_what_is_learned(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokens = shown(capsys, "llama-mini", "--data", str(text))["reads"]
    assert all(a["learns"] == b["text"] for a, b in itertools.pairwise(tokens))


def test_a_prefix_is_told_and_not_learned(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokens = shown(capsys, "llama-mini", "--data", str(text), "--objective.kind", "prefix")["reads"]
    notes = [token["note"] == "read both ways" for token in tokens]
    assert notes[0] and not notes[-1] and sorted(notes, reverse=True) == notes
    learned = [token["learns"] is not None for token in tokens]
    assert learned == [not following for following in [*notes[1:], False]]


def test_hidden_tokens_and_pairs_are_told(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokens = shown(capsys, "bert", "--data", str(text), "--example", "2")["reads"]
    assert tokens[0]["control"] and "pair" in tokens[0]["note"]
    assert any("MASK" in token["text"] and token["learns"] for token in tokens)
    assert any(token["note"] == "segment B" for token in tokens)


@pytest.mark.parametrize("long", [[], ["--long"]])
def test_people_get_text_and_a_legend(
    long: list[str], text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "show", "bert", "--data", str(text), *SMALL, *long]) == 0
    out = capsys.readouterr().out
    assert "learned" in out and "[CLS]" in out and "[MASK]" in out


def test_a_detector_judges_every_token(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["electra", "--data", str(text)]
    tokens = shown(capsys, *args)["reads"]
    learned = sum(token["learns"] is not None for token in tokens)
    assert [token["judged"] for token in tokens] == [token["sequence"] > 0 for token in tokens]
    assert main(["data", "show", *args, *SMALL]) == 0
    out = capsys.readouterr().out
    judged = sum(token["judged"] for token in tokens)
    assert f"{learned} learned by the generator, {judged} judged by the model" in out
    assert "judged: replaced or not" in out
    assert not any(token["judged"] for token in shown(capsys, "bert", "--data", str(text))["reads"])


@pytest.mark.parametrize(("recipe", "told"), [("xlnet", True), ("bert", False)])
def test_steps_are_explained_where_there_are_some(
    recipe: str, told: bool, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "show", recipe, "--data", str(text), *SMALL]) == 0
    assert ("(step N): predicted" in capsys.readouterr().out) == told


def test_errors_about_a_sample_name_the_users_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.tsv").write_text("cat\tchat\n")
    args = ["transformer", "--data", str(tmp_path / "one.tsv"), "--objective.kind", "seq2seq"]
    assert main(["data", "show", *args, *SMALL]) == 3
    err = capsys.readouterr().err
    assert f"{tmp_path / 'one.tsv'}: no text fell to" in err and "sample-0" not in err
    assert "--data.split tail" not in err  # which pairs cannot have


def test_a_context_without_room_is_refused(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["data", "show", "electra", "--data", str(text), *SMALL, "--model.context", "2"]
    assert main(args) == 2
    assert "too short for 'replaced'" in capsys.readouterr().err


@pytest.mark.parametrize(("args", "words"), [
    (["sow"], "nearest is show"), (["show", "bert", "--example", "9"], "0 to 3"),
    (["show", "brt"], "nearest is bert"),
])  # fmt: skip
def test_what_cannot_be_shown(
    args: list[str], words: str, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--data", str(text), *SMALL] if args[0] == "show" else []
    assert main(["data", *args, *more]) == 2
    assert words in capsys.readouterr().err


TABLE = "text,label\nFree prize,spam\nSee you,ham\nWin now,spam\nAt noon,ham\n"


def test_labelled_data_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text(TABLE)
    assert main(["data", "show", str(tmp_path / "a.csv"), "--task", "classify"]) == 0
    out = capsys.readouterr().out
    for word in ("comma-separated", "4 records", "spam", "At noon", "median"):
        assert word in out
    args = ["data", "show", "--task", "classify", "--data", str(tmp_path / "a.csv"), "--json"]
    assert main(args) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["records"] == 4 and found["columns"] == {"label": "label", "text": "text"}
    assert sum(found["labels"]["ham"].values()) == 2 and len(found["examples"]) == 3


def test_faults_are_shown_and_end_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text(TABLE + "nothing,\n")
    args = ["data", "show", str(tmp_path / "a.csv"), "--task", "classify"]
    assert main(args) == 3
    out = capsys.readouterr()
    assert "a.csv:6" in out.out and "1 fault" in out.out and "--data.bad skip" in out.err
    assert main([*args, "--data.bad", "skip", "--data.max-bad-fraction", "0.5"]) == 0
    assert main([*args, "--json"]) == 3
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["faults"] == 1
    assert main([*args[:-1], "clasify"]) == 2
    assert "classify" in capsys.readouterr().err


@pytest.mark.parametrize(("task", "name", "content"), [
    ("tag", "a.conll", "EU\tB-ORG\nsaid\tO\n"),
    ("seq2seq", "a.tsv", "cat\tchat\ndog\tchien\n"),
    ("regress", "a.csv", "text,score\na b,1.5\nc d,2\n"),
    ("span", "a.jsonl", '{"context": "a b", "question": "?", "answers": '
     '[{"text": "b", "answer_start": 2}]}\n'),
    ("chat", "a.jsonl", '{"prompt": "Hi", "response": "Ho"}\n'),
])  # fmt: skip
def test_every_task_can_be_looked_at(
    task: str, name: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(content)
    assert main(["data", "show", str(tmp_path / name), "--task", task]) == 0
    assert f"{name}:1" in capsys.readouterr().out or task == "regress"
    assert main(["data", "show", str(tmp_path / name), "--task", task, "--json"]) == 0
    json.loads(capsys.readouterr().out)
