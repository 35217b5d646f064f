"""What is shown is what the model computes, whichever kernel runs; all families can be shown."""

import threading

import pytest
import torch
from looked_at import made

from ownlm.errors import ConfigError
from ownlm.inspection.attention_maps import attention_maps, attention_weights
from ownlm.inspection.given import Given, given
from ownlm.nn import fused
from ownlm.nn.attention import SelfAttention


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_weights_times_values_are_what_the_layer_gives(family: str, dtype: torch.dtype) -> None:
    """bfloat16 takes the native kernel where the processor has it."""
    lm = made(family)
    model, seen = lm.model.to(dtype), {}
    first = next(m for m in model.stack.modules() if isinstance(m, SelfAttention))
    first.register_forward_hook(lambda _, read, out: seen.update(read=read, out=out))
    weights = attention_weights(model, Given((*range(5, 45),)))["self"][0]
    x, _, table, *_ = seen["read"]
    q, k, v = first.project(x, table)
    assert fused.usable(q, k) == (dtype == torch.bfloat16 and fused.available())
    groups = q.shape[1] // v.shape[1]
    read = weights.to(dtype) @ v[0].repeat_interleave(groups, dim=0)
    expected = first.o(read.transpose(0, 1).flatten(1))
    off = first.o(read.roll(1, 0).transpose(0, 1).flatten(1))
    limit = 1e-5 if dtype == torch.float32 else 3e-2
    scale = expected.abs().max()
    assert (seen["out"][0] - expected).abs().max() / scale < limit
    assert (seen["out"][0] - off).abs().max() / scale > 5 * limit


@pytest.mark.parametrize(
    ("family", "kinds"),
    [
        ("bert", ["self"]),
        ("llama", ["self"]),
        ("t5", ["encoder", "decoder", "cross"]),
        ("bart", ["encoder", "decoder", "cross"]),
        ("transformer-xl", ["self"]),
        ("xlnet", ["self"]),
    ],
)
def test_maps_of_a_text(family: str, kinds: list[str]) -> None:
    lm = made(family)
    read = given(lm, "who reads", written="" if "cross" not in kinds else "whom")
    maps = attention_maps(lm, read)
    assert [one.kind for one in maps] == kinds
    for one in maps:
        shape = (2, 4, len(one.queries), len(one.keys))
        assert one.weights.shape == shape
        assert torch.allclose(one.weights.sum(-1), torch.ones(shape[:-1]), atol=1e-5)
    later = maps[-1].weights.triu(1).sum()
    assert (later == 0) == (family in ("llama", "transformer-xl"))
    assert "".join(piece.text for piece in maps[0].keys if not piece.control) == "who reads"


def test_an_encoder_reads_its_marks_and_may_be_given_two_texts() -> None:
    lm = made("bert")
    one, two = given(lm, "a"), given(lm, "a", other="b")
    assert len(two.reads) > len(one.reads)
    assert two.types is not None and {*two.types} == {0, 1}
    marks = [piece.control for piece in attention_maps(lm, one)[0].keys]
    assert marks == [True, False, True]
    hidden = one.hiding(1, lm.tokenizer)
    assert hidden.reads[1] == lm.tokenizer.special["<|mask|>"]


def test_passes_of_other_threads_are_not_seen() -> None:
    lm = made("llama")
    read, other = Given((5, 6, 7)), Given((9, 9, 9, 9, 9))
    alone = attention_weights(lm.model, read)["self"]
    stop = threading.Event()

    def serve() -> None:
        with torch.inference_mode():
            while not stop.is_set():
                lm.model(torch.tensor([other.reads]))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        found = [attention_weights(lm.model, read)["self"] for _ in range(20)]
    finally:
        stop.set()
        thread.join()
    assert all(torch.equal(one, alone) for one in found)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in lm.model.modules())


def test_what_cannot_be_looked_at_is_refused() -> None:
    with pytest.raises(ConfigError, match="no attention"):
        attention_weights(made("lstm").model, Given((5, 6)))
    with pytest.raises(ConfigError, match="at most 48"):
        attention_weights(made("llama").model, Given((5,) * 49))
