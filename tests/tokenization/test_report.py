import json

from rich.console import Console

from ownlm.tokenization.report import report

from .conftest import CHINESE, ENGLISH, trained


def test_numbers_of_the_byte_tokenizer_are_known() -> None:
    found = report(trained("byte"), {"en": "aab", "zh": "中"})
    assert found.bytes_per_token() == {"en": 1.0, "zh": 1.0}
    assert found.languages["zh"].characters_per_token == 1 / 3
    assert len(found.unused) == 256 - 2 - 3
    assert "a" not in found.unused and "c" in found.unused
    assert found.vocab_size == 259 and found.controls == trained("byte").special
    assert found.digest == trained("byte").digest


def test_tokens_in_use_and_long_ones() -> None:
    tokenizer = trained("bpe")
    found = report(tokenizer, {"English": ENGLISH, "Chinese": CHINESE})
    english = found.languages["English"]
    assert english.tokens == len(tokenizer.encode(ENGLISH)) and english.unknown == 0
    assert english.bytes_per_token == len(ENGLISH.encode()) / english.tokens > 2
    lengths = [len(piece) for id in range(len(tokenizer)) if (piece := tokenizer.pieces[id])]
    assert len(found.longest[0].encode()) > 8
    assert len(found.longest[0].encode()) == max(lengths[: len(lengths) - 3])
    assert not set(found.controls) & set(found.unused + found.longest)


def test_unknown_characters_are_counted() -> None:
    found = report(trained("wordpiece"), {"text": "fox \U00013000 fox \U00013001"})
    assert found.languages["text"].unknown == 2


def test_without_texts_and_with_an_empty_one() -> None:
    assert report(trained("bpe"), {}).languages == {}
    assert report(trained("bpe"), {"nothing": ""}).bytes_per_token() == {"nothing": 0.0}


def test_for_machines_and_for_people() -> None:
    found = report(trained("bpe"), {"[red]English": ENGLISH})
    values = json.loads(json.dumps(found.as_dict()))
    assert values["languages"]["[red]English"]["bytes"] == len(ENGLISH.encode())
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(found)
    shown = console.export_text()
    ratio = f"{found.bytes_per_token()['[red]English']:.3f}"
    assert "[red]English" in shown and ratio in shown and "<|endoftext|>" in shown
