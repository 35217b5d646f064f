"""Many texts at once are what each is alone, by a decoder that reads everything anew."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from ownlm.errors import NonFiniteError
from ownlm.inference import batch as batches_of
from ownlm.inference.batch import batches, write, write_plainly, write_together
from ownlm.inference.beams import Written
from ownlm.inference.candidates import Terms
from ownlm.inference.config import WritingConfig
from ownlm.inference.decode import decode_plainly
from ownlm.inference.reading import Answering, Continuing, Reading, Writer
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_any
from ownlm.models.model import EncoderDecoder

VOCAB = 60
DECODERS: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "llama": {"kv_heads": 2},
    "mistral": {"window": 6},
    "transformer-xl": {},
    "xlnet": {},
    "lstm": {"bias": True, "hidden": 24},
}
PAIRS = ("t5", "bart", "marian")
FAMILIES = (*DECODERS, *PAIRS)


def model_of(family: str) -> Any:
    shape = {"vocab": VOCAB, "dim": 16, "heads": 4, "layers": 2, "context": 40}
    config = ModelConfig(family=family, **shape | DECODERS.get(family, {}))
    model = build_any(config, seed=2).eval()
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2 and family in ("bart", "marian", "transformer-xl"):
                parameter.mul_(20)
            elif parameter.ndim == 2:
                parameter.normal_(0.0, 0.25 if parameter is model.embed.tokens.weight else 0.7)
    return model


def writer_of(family: str) -> Writer:
    model = model_of(family)
    return Answering(model, [1, 2]) if family in PAIRS else Continuing(model.writer)


def terms(**values: Any) -> Terms:
    config = WritingConfig(**{"max_tokens": 14} | values)
    return Terms(config=config, ends={*range(3, 9), 37, 38}, vocab=VOCAB - 2, banned=(0,))


def prompts(count: int = 7) -> list[list[int]]:
    draw = torch.Generator().manual_seed(7)
    sizes = torch.randint(1, 13, (count,), generator=draw).tolist()
    return [torch.randint(7, VOCAB, (size,), generator=draw).tolist() for size in sizes]


def same(one: Written, two: Written) -> bool:
    close = one.score == pytest.approx(two.score, rel=1e-3)
    return (one.ids, one.complete) == (two.ids, two.complete) and close


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("family", FAMILIES)
def test_batches_with_caches_equal_the_plain_reference(family: str, beams: int) -> None:
    writer, told = writer_of(family), terms(beams=beams)
    found = write(writer, prompts(), told)
    plain = [write_plainly(writer, prompt, told) for prompt in prompts()]
    assert all(same(*pair) for pair in zip(found, plain, strict=True))
    assert len({tuple(one.ids) for one in found}) > 3  # not one text for all
    assert len({len(one.ids) for one in found}) > 1  # some leave before others


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_one_beam_is_greedy(family: str) -> None:
    writer, told = writer_of(family), terms()
    for prompt, found in zip(prompts(), write(writer, prompts(), told), strict=True):
        ids: list[int] = []
        while len(ids) < 14 and not (ids and ids[-1] in told.ends):
            logits_V = writer.whole(prompt, ids)
            logits_V[0] = -torch.inf
            ids.append(int(logits_V[: told.vocab].argmax()))
        complete = ids[-1] in told.ends
        assert (found.ids, found.complete) == (ids[:-1] if complete else ids, complete)
    assert found.ids != write(writer, prompts(), terms(beams=4))[-1].ids or family != "gpt2"


def test_one_text_is_what_the_streaming_decoder_says() -> None:
    writer = writer_of("gpt2")
    told = Terms(config=WritingConfig(max_tokens=20), ends=(), vocab=VOCAB)
    for prompt, found in zip(prompts(), write(writer, prompts(), told), strict=True):
        said = decode_plainly(model_of("gpt2"), prompt, lambda logits_V: int(logits_V.argmax()), 20)
        assert found.ids == list(said)
        assert not found.complete


@pytest.mark.parametrize("family", ["gpt2", "marian"])
def test_neighbours_change_nothing(family: str) -> None:
    writer, told = writer_of(family), terms(beams=3)
    together = write(writer, prompts(9), told)
    for n, prompt in enumerate(prompts(9)):
        assert same(write(writer, [prompt], told)[0], together[n])
    backwards = write(writer, prompts(9)[::-1], told)
    assert all(same(*pair) for pair in zip(backwards[::-1], together, strict=True))


def test_a_control_a_neighbour_that_is_seen_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the mask that hides padding, other texts come out."""
    writer, told = writer_of("gpt2"), terms(beams=3)
    right = write(writer, prompts(9), told)
    read = Reading.read
    monkeypatch.setattr(Reading, "read", lambda self, ids, **_: read(self, ids))
    wrong = write(writer, prompts(9), told)
    assert not all(same(*pair) for pair in zip(right, wrong, strict=True))


def test_a_control_beams_that_keep_a_wrong_past_are_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writer, told = writer_of("t5"), terms(beams=4)
    right = write(writer, prompts(9), told)
    monkeypatch.setattr(Reading, "move", lambda self, moves: None)
    wrong = write(writer, prompts(9), told)
    assert not all(same(*pair) for pair in zip(right, wrong, strict=True))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_prompts_that_are_read_both_ways(family: str) -> None:
    model, told = model_of(family), terms(beams=2)
    both = Continuing(model, both_ways=True)
    found = write(both, prompts(), told)
    plain = [write_plainly(both, prompt, told) for prompt in prompts()]
    assert all(same(*pair) for pair in zip(found, plain, strict=True))
    one_way = write(Continuing(model), prompts(), told)
    assert not all(same(*pair) for pair in zip(found, one_way, strict=True))


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("family", ["gpt2", "bart"])
def test_nothing_comes_twice_and_nothing_ends_early(family: str, beams: int) -> None:
    writer = writer_of(family)
    told = terms(beams=beams, no_repeat=2, min_tokens=5, max_tokens=25)
    free = write(writer, prompts(), terms(beams=beams, max_tokens=25))
    found = write(writer, prompts(), told)
    plain = [write_plainly(writer, prompt, told) for prompt in prompts()]
    assert all(same(*pair) for pair in zip(found, plain, strict=True))

    def twice(prompt: list[int], text: Written) -> bool:
        ids = [*writer.before(prompt), *text.ids]
        pairs = list(itertools.pairwise(ids))[len(ids) - len(text.ids) - 1 :]
        return len({*pairs}) < len(pairs)

    assert not any(twice(*one) for one in zip(prompts(), found, strict=True))
    assert any(twice(*one) for one in zip(prompts(), free, strict=True))
    assert all(len(one.ids) >= 5 for one in found)
    assert any(len(one.ids) < 5 for one in free)


def test_a_context_that_is_full_ends_a_text() -> None:
    """Of 40 tokens 38 are the prompt: two are read, the third need not be."""
    model = model_of("gpt2")
    told = Terms(config=WritingConfig(max_tokens=14), ends=(), vocab=VOCAB)
    long = [n % 50 + 7 for n in range(38)]
    found = write(Continuing(model), [long, long + [9] * 2, long + [9] * 3, [8]], told)
    assert [len(one.ids) for one in found] == [3, 1, 0, 14]
    assert not any(one.complete for one in found)


def test_a_text_that_is_done_is_not_read_beyond_the_context() -> None:
    """One text of many fills the context, or ends near its end, while all others go on."""
    model, others = model_of("gpt2"), [[n + 7] for n in range(15)]
    long = [n % 50 + 7 for n in range(36)]
    told = Terms(config=WritingConfig(max_tokens=14), ends=(), vocab=VOCAB)
    found = write(Continuing(model), [long, *others], told)
    assert [len(one.ids) for one in found] == [5] + [14] * 15
    first = found[0].ids[0]
    ended = Terms(config=WritingConfig(max_tokens=14), ends=(first,), vocab=VOCAB)
    again = write(Continuing(model), [long, *others], ended)
    assert again[0].complete
    assert max(len(one.ids) for one in again) > 5


def test_no_prompts_and_no_tokens() -> None:
    writer = writer_of("gpt2")
    assert write(writer, [], terms()) == []
    assert [one.ids for one in write(writer, prompts(2), terms(max_tokens=0))] == [[], []]


def test_a_text_that_is_done_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of a step become fewer; beams of one text stay together."""
    writer, told, rows = writer_of("marian"), terms(beams=3), []
    read = Reading.read

    def counted(self: Reading, ids_RT: Tensor, **seen: Tensor) -> Tensor:
        rows.append(len(ids_RT))
        return read(self, ids_RT, **seen)

    monkeypatch.setattr(Reading, "read", counted)
    write(writer, prompts(16), told)
    assert rows[0] == 16  # the first token is read once a text
    assert rows[1] == 48
    assert rows[-1] < 40
    assert all(count % 3 == 0 for count in rows[1:])


def test_the_memory_of_an_encoder_is_kept_once_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[tuple[int, int]] = []
    decode = EncoderDecoder.decode

    def counted(self: EncoderDecoder, ids: Tensor, memory: Any, **rest: Any) -> Any:
        out = decode(self, ids, memory, **rest)
        held.append((len(ids), len(rest["cache"].layers[0].memory[0])))
        return out

    monkeypatch.setattr(EncoderDecoder, "decode", counted)
    write(writer_of("bart"), prompts(4), terms(beams=4))
    assert held[0] == (4, 4)
    assert all(rows == 4 * texts for rows, texts in held[1:])


def test_batches_hold_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longest first; tokens of all beams count."""
    monkeypatch.setattr(batches_of, "TOKENS", 60)
    config = WritingConfig(beams=2, max_tokens=5)
    assert list(batches([3, 30, 5, 5, 4], config)) == [[1], [2, 3, 4], [0]]
    monkeypatch.setattr(batches_of, "TEXTS", 2)
    assert list(batches([3, 30, 5, 5, 4], config)) == [[1], [2, 3], [4, 0]]
    assert list(batches([], config)) == []


def test_numbers_that_are_none_are_refused() -> None:
    model = model_of("gpt2")
    with torch.no_grad():
        model.embed.tokens.weight[9] = float("nan")
    with pytest.raises(NonFiniteError, match="not numbers"):
        write_together(Continuing(model), [[9], [8]], terms())


@torch.no_grad()
def test_beams_in_half_precision() -> None:
    """Kernels for bf16, where there are any, take beams of one text as queries of one row: what
    is written is as likely in float32 as it was said to be."""
    told, half = terms(beams=4), Answering(model_of("marian").bfloat16(), [1, 2])
    writer, checked = Answering(model_of("marian"), [1, 2]), 0
    for prompt, one in zip(prompts(12), write(half, prompts(12), told), strict=True):
        if not one.complete:
            logs = [writer.whole(prompt, one.ids[:n]).log_softmax(-1) for n in range(len(one.ids))]
            nats = sum(float(log_V[id]) for log_V, id in zip(logs, one.ids, strict=True))
            assert one.score == pytest.approx(nats / len(one.ids), rel=0.1)
            checked += 1
    assert checked > 2
