"""Which runner an engine gets, and that both write the same text."""

import pytest

from ownlm.inference import native_runner, pick
from ownlm.inference.config import EngineConfig
from ownlm.inference.engine import Engine
from ownlm.inference.language_model import LM
from ownlm.inference.native_runner import NativeRunner
from ownlm.inference.request import Request
from ownlm.inference.runner import RowRunner, TorchRunner
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.train import train_tokenizer

native = pytest.mark.skipif(native_runner.library() is None, reason="no native code here")


def make_lm(family: str, **values: object) -> LM:
    tokenizer = train_tokenizer(["hello world"], TokenizerConfig(kind="byte"))
    shape = {"vocab": tokenizer.vocab_size, "dim": 64, "heads": 4, "layers": 2, "context": 90}
    model = build_model(ModelConfig(family=family, **shape | values), seed=2)
    for parameter in model.parameters():
        parameter.data.mul_(8.0) if parameter.ndim == 2 else None
    return LM(model, tokenizer)


def answers(engine: Engine) -> list[tuple[int, ...]]:
    """What it writes to some prompts at once."""
    written: dict[int, list[int]] = {}
    for n in range(5):
        request = Request(tuple(range(3 * n + 1)), max_tokens=30, ignore_end=True)
        written[engine.submit(request)] = []
    while engine.busy:
        for number, event in engine.step():
            written[number] += [chosen.token for chosen in event.tokens]
    return [tuple(ids) for ids in written.values()]


@native
@pytest.mark.parametrize("weights", ["bf16", "int8", "int4"])
def test_an_engine_writes_with_native_code(weights: pick.Weights) -> None:
    lm, lines = make_lm("llama"), list[str]()
    engine = pick.make_engine(lm, EngineConfig(rows=3), weights, tell=lines.append)
    assert isinstance(engine.runner, NativeRunner)
    assert weights in lines[0] and "KB" in lines[0]
    together = answers(engine)
    assert all(len(ids) == 30 for ids in together)
    alone = pick.make_engine(lm, EngineConfig(rows=1), weights, tell=lines.append)
    if weights == "int8":
        assert answers(alone) == together  # neighbours change nothing, to the last bit
    plain = answers(pick.make_engine(lm, EngineConfig(rows=3), "float32", tell=lines.append))
    same = sum(a == b for x, y in zip(plain, together) for a, b in zip(x[:4], y[:4]))
    assert same >= (12 if weights != "int4" else 4)  # of 20 tokens; then rounding leads elsewhere


@native
def test_the_faster_one_is_chosen_and_the_line_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = make_lm("gpt2", bias=True)
    for times, kind, word in (((1, 2), NativeRunner, "native"), ((2, 1), TorchRunner, "PyTorch,")):
        answers = iter(times)
        monkeypatch.setattr(pick, "_milliseconds", lambda _, answers=answers: next(answers))
        runner, line = pick.pick_runner(lm.model)
        assert isinstance(runner, kind) and line.startswith(f"decoding: {word}")
        assert f"{min(times)}.00 ms a token beside {max(times)}.00 in" in line


@native
def test_the_probe_measures_both() -> None:
    _, line = pick.pick_runner(make_lm("llama").model)
    fast, slow = (float(line.split(word)[0].split()[-1]) for word in (" ms", " in "))
    assert 0 < fast <= slow


def test_what_native_code_does_not_take_goes_to_pytorch() -> None:
    runner, line = pick.pick_runner(make_lm("mixtral", experts=3).model, "int8")
    assert isinstance(runner, TorchRunner) and "experts" in line
    runner, line = pick.pick_runner(make_lm("lstm", hidden=32, bias=True).model)
    assert isinstance(runner, RowRunner) and "single stack" in line


def test_without_a_compiler_pytorch_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_runner, "library", lambda: None)
    monkeypatch.setattr(native_runner.native, "why_not", lambda _: "no C++ compiler")
    runner, line = pick.pick_runner(make_lm("llama").model, "int4")
    assert isinstance(runner, TorchRunner) and "no C++ compiler" in line
