"""XLNet against transformers: both streams, permutations, memory, sentences, heads.

fp32 on the CPU, 320 tokens; the largest difference of any number is bounded by 1e-5 of the
largest one. The control perturbs what parity is about and must be noticed.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

transformers = pytest.importorskip("transformers")

from ownlm.models.config import ModelConfig  # noqa: E402
from ownlm.models.load import build_model, load_model, save_model  # noqa: E402
from ownlm.models.weights import export  # noqa: E402
from ownlm.nn.streams import Order, factorise  # noqa: E402

LENGTH, LIMIT = 320, 1e-5
SHAPE = {
    "vocab_size": 97, "d_model": 32, "n_layer": 3, "n_head": 4, "d_inner": 48, "num_labels": 3,
    "mem_len": 110, "use_mems_train": True,
}  # fmt: skip
FORMS = {
    "LMHeadModel": {},
    "Model": {},
    "ForSequenceClassification": {},
    "ForTokenClassification": {},
    "ForQuestionAnsweringSimple": {"num_labels": 2},
    "ForMultipleChoice": {},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "uni": {"attn_type": "uni", "ff_activation": "relu"},
    "clamped": {"clamp_len": 40},
}
Folder = Callable[..., Path]
Tell = Callable[[str, float, float], None]
Off = Callable[[Any], Any]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A function from form and variant to the folder that save_pretrained wrote for it."""

    def folder(form: str = "LMHeadModel", variant: str = "plain") -> Path:
        path = tmp_path_factory.getbasetemp() / f"xlnet-{form}-{variant}"
        if not path.exists():
            values = SHAPE | FORMS[form] | VARIANTS[variant]
            torch.manual_seed(3)
            made = getattr(transformers, "XLNet" + form)(transformers.XLNetConfig(**values))
            with torch.no_grad():
                for parameter in made.parameters():
                    parameter.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.2)
            made.eval().save_pretrained(path)
        return path

    return folder


def theirs(folder: Path) -> Any:
    (name,) = json.loads((folder / "config.json").read_text())["architectures"]
    model, told = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert not any(told[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval()


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(3, 97, (2, LENGTH), generator=torch.Generator().manual_seed(5))


@pytest.fixture
def types() -> Tensor:
    """The second row's second half is another sentence."""
    types = torch.zeros(2, LENGTH, dtype=torch.long)
    types[1, LENGTH // 2 :] = 1
    return types


@pytest.fixture
def order() -> Order:
    """A sixth of the tokens, in random order; the same number in each row."""
    generator = torch.Generator().manual_seed(7)
    predicted = torch.zeros(2, LENGTH, dtype=torch.bool)
    for row in predicted:
        row[torch.randperm(LENGTH, generator=generator)[: LENGTH // 6]] = True
    steps = torch.stack([torch.randperm(LENGTH, generator=generator) for _ in range(2)])
    return factorise(steps, predicted)[0]


def asked(order: Order) -> dict[str, Tensor]:
    """The same as transformers wants it."""
    mapping = torch.nn.functional.one_hot(order.places, order.blocked.shape[-1]).float()
    return {"perm_mask": order.blocked.float(), "target_mapping": mapping}


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("side", ["none", "left", "right"])
def test_content_stream(
    variant: str, side: str, folder_of: Folder, ids: Tensor, types: Tensor, tell: Tell, off: Off
) -> None:
    mask = torch.ones_like(ids)
    if side != "none":
        mask[1, slice(37) if side == "left" else slice(-37, None)] = 0
    model, other = load_model(folder_of("Model", variant))[0], theirs(folder_of("Model", variant))
    for given in (None, types):
        found, wrong = (m(ids, mask, types=given).hidden for m in (model, off(model)))
        for row in range(2):  # theirs reads each alone: with "uni" a mask breaks it
            real = mask[row] == 1
            kinds = None if given is None else given[row, real][None]
            expected = other(ids[row, real][None], token_type_ids=kinds).last_hidden_state[0]
            tell("XLNetModel", *(apart(x[row, real], expected) for x in (found, wrong)))


@torch.no_grad()
@pytest.mark.parametrize("variant", ["plain", "clamped"])  # theirs breaks with "uni"
def test_query_stream(
    variant: str, folder_of: Folder, ids: Tensor, types: Tensor, order: Order, tell: Tell
) -> None:
    model, other = load_model(folder_of(variant=variant))[0], theirs(folder_of(variant=variant))
    for given in (None, types):
        expected = other(ids, token_type_ids=given, **asked(order)).logits
        found = apart(model(ids, types=given, order=order).logits, expected)
        moved = order._replace(places=order.places.roll(1, dims=1))
        control = apart(model(ids, types=given, order=moved).logits, expected)
        tell("XLNetLMHeadModel, in any order", found, control)


@torch.no_grad()
def test_memory_in_both_streams(
    folder_of: Folder, ids: Tensor, types: Tensor, order: Order
) -> None:
    """Three segments of the content stream, then one that is predicted."""
    model, other = load_model(folder_of())[0], theirs(folder_of())
    memory, mems = model.new_memory(2), None
    for part, kind in zip(ids.split(64, dim=1), types.split(64, dim=1), strict=True):
        out = other(part, token_type_ids=kind, mems=mems, use_mems=True)
        assert apart(model(part, types=kind, cache=memory).logits, out.logits) < LIMIT
        mems = out.mems
    assert mems is not None and mems[0].shape[0] == 110
    expected = other(ids, mems=mems, use_mems=True, **asked(order)).logits
    assert apart(model(ids, cache=memory, order=order).logits, expected) < LIMIT
    assert apart(model(ids, order=order).logits, expected) > 10 * LIMIT, "control: no memory"


@torch.no_grad()
def test_only_the_first_part_of_a_segment_is_reused(
    folder_of: Folder, ids: Tensor, tmp_path: Path
) -> None:
    folder = edited(folder_of(), tmp_path / "reuse", reuse_len=20, mem_len=50)
    model, other = load_model(folder)[0], theirs(folder)
    memory, mems = model.new_memory(2), None
    for part in ids.split(32, dim=1):
        out = other(part, mems=mems, use_mems=True)
        assert apart(model(part, cache=memory).logits, out.logits) < LIMIT
        mems = out.mems


@pytest.mark.parametrize("form", FORMS)
def test_round_trip_is_byte_equal(form: str, folder_of: Folder, tmp_path: Path) -> None:
    model, _ = load_model(folder_of(form))
    save_model(model, tmp_path)
    before, after = (load_file(f / "model.safetensors") for f in (folder_of(form), tmp_path))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    theirs(tmp_path)


@torch.no_grad()
@pytest.mark.parametrize("form", list(FORMS)[2:])
def test_heads(form: str, folder_of: Folder, ids: Tensor, tell: Tell, off: Off) -> None:
    model, other = load_model(folder_of(form))[0], theirs(folder_of(form))
    given = ids[:, None] if form == "ForMultipleChoice" else ids
    out = other(given)
    if "start_logits" in out:
        expected = torch.stack((out.start_logits, out.end_logits), dim=-1)
    else:
        expected = out.logits
    found = model(ids).logits
    assert found.shape == expected.shape
    tell(f"XLNet{form}", apart(found, expected), apart(off(model)(ids).logits, expected))


def edited(folder: Path, copy: Path, **values: Any) -> Path:
    shutil.copytree(folder, copy)
    config = json.loads((folder / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | values))
    return copy


@torch.no_grad()
@pytest.mark.parametrize(
    "wrong",
    [{"layer_norm_eps": 0.01}, {"ff_activation": "relu"}, {"n_head": 8, "d_head": 4},
     {"attn_type": "uni"}, {"clamp_len": 300}],
    ids=lambda wrong: next(iter(wrong)),
)  # fmt: skip
def test_control_a_wrong_option_is_noticed(
    wrong: dict[str, Any], folder_of: Folder, ids: Tensor, order: Order, tmp_path: Path
) -> None:
    """Heads of another number also need tensors of another shape, which is noticed first."""
    folder = edited(folder_of(), tmp_path / "wrong", **wrong)
    if "n_head" in wrong:
        with pytest.raises(Exception, match="wrong shape"):
            load_model(folder)
        return
    expected = theirs(folder_of())(ids, **asked(order)).logits
    assert apart(load_model(folder)[0](ids, order=order).logits, expected) > 10 * LIMIT


def test_loss_and_gradients(folder_of: Folder, ids: Tensor, types: Tensor, order: Order) -> None:
    model, other = load_model(folder_of())[0], theirs(folder_of())
    targets = ids.gather(1, order.places)
    total, count = model(ids, types=types, order=order).cross_entropy(targets)
    (total / count).backward()
    loss = other(ids, token_type_ids=types, labels=targets, **asked(order)).loss
    loss.backward()
    assert (total / count).item() == pytest.approx(loss.item(), rel=1e-6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.grad)
    ours = export(model, model.family.names(model.architecture))
    expected = {n: p.grad for n, p in other.named_parameters() if n in ours}
    assert expected.keys() == ours.keys()
    largest = max(float(right.abs().max()) for right in expected.values())
    for key, right in expected.items():
        assert torch.allclose(ours[key], right, rtol=1e-3, atol=1e-6 * largest), key


@torch.no_grad()
@pytest.mark.parametrize("values", [{}, {"tied": False}, {"head": "ForTokenClassification"}])
def test_transformers_reads_what_we_built(
    values: dict[str, Any], ids: Tensor, tmp_path: Path
) -> None:
    config = ModelConfig(family="xlnet", vocab=97, dim=32, heads=4, layers=2, context=320, **values)
    model = build_model(config, seed=3).eval()
    save_model(model, tmp_path)
    assert apart(model(ids).logits, theirs(tmp_path)(ids).logits) < LIMIT
    again, _ = load_model(tmp_path)
    pairs = zip(model.named_parameters(), again.named_parameters(), strict=True)
    assert all(a == b and torch.equal(p, q) for (a, p), (b, q) in pairs)
    assert again.architecture == model.architecture
