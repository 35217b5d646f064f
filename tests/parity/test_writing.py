"""Beam search against transformers' generate: the same folder, the same texts.

Beams of 4 on random models, length penalties, ends in every place, nothing twice. A batch of
ours against one text at a time of theirs, so that neither's padding has a part in it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers")

from ownlm.inference.batch import write  # noqa: E402
from ownlm.inference.candidates import Terms  # noqa: E402
from ownlm.inference.config import WritingConfig  # noqa: E402
from ownlm.inference.reading import Answering, Continuing, Writer  # noqa: E402
from ownlm.models.load import load_any, save_model  # noqa: E402
from ownlm.models.model import EncoderDecoder  # noqa: E402

PAD, ENDS, START, TOKENS, VOCAB = 0, [2, *range(80, 97)], 1, 16, 97
NAMES = ["gpt2", "llama", "marian", "t5", "mt5", "bart"]
Folder = Callable[[str], Path]


def prompts() -> list[list[int]]:
    draw = torch.Generator().manual_seed(3)
    return [torch.randint(3, 80, (size,), generator=draw).tolist() for size in (5, 11, 19, 2)]


@pytest.fixture(scope="session")
def writes(folder_of: Folder, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A function from a case's name to a folder whose model does not say one word all the time:
    norms with signs undo that the token read is the likeliest one (the tables are tied)."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            model, made[name] = load_any(folder_of(name))[0], tmp_path_factory.mktemp(name)
            draw = torch.Generator().manual_seed(1)
            with torch.no_grad():
                for key, parameter in model.named_parameters():
                    if key.endswith("bias"):
                        parameter.sub_(1.0)  # the reference's are around 1
                    elif parameter.ndim == 1:
                        signs = torch.randint(0, 2, parameter.shape, generator=draw) * 2 - 1
                        parameter.mul_(signs)
            save_model(model, made[name])
        return made[name]

    return folder


def ours(folder: Path, config: WritingConfig) -> list[list[int]]:
    model = load_any(folder)[0]
    writer: Writer = (
        Answering(model, [START]) if isinstance(model, EncoderDecoder) else Continuing(model)
    )
    terms = Terms(config=config, ends=ENDS, vocab=VOCAB, banned=(PAD,))
    return [one.ids for one in write(writer, prompts(), terms)]


def theirs(folder: Path, config: WritingConfig) -> list[list[int]]:
    values = transformers.AutoConfig.from_pretrained(folder)
    kind = "Seq2SeqLM" if values.is_encoder_decoder else "CausalLM"
    model = getattr(transformers, f"AutoModelFor{kind}").from_pretrained(folder).eval()
    options = transformers.GenerationConfig(
        num_beams=config.beams, do_sample=False, max_new_tokens=config.max_tokens,
        min_new_tokens=config.min_tokens or None, length_penalty=config.length_penalty,
        no_repeat_ngram_size=config.no_repeat, suppress_tokens=[PAD], eos_token_id=ENDS,
        pad_token_id=PAD, decoder_start_token_id=START, use_cache=False,
    )  # fmt: skip
    model.generation_config = options
    found = []
    for prompt in prompts():
        (ids,) = model.generate(input_ids=torch.tensor([prompt]), generation_config=options)
        said = ids[1:] if values.is_encoder_decoder else ids[len(prompt) :]
        found.append([id for id in said.tolist() if id not in (*ENDS, PAD)])
    return found


CONFIGS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "beams": {"beams": 4},
    "short": {"beams": 4, "length_penalty": 0.0},
    "long": {"beams": 3, "length_penalty": 2.5},
    "bounded": {"beams": 4, "min_tokens": 7, "no_repeat": 2},
}


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("name", NAMES)
def test_as_transformers_writes(name: str, config: str, writes: Folder) -> None:
    made = WritingConfig(max_tokens=TOKENS, **CONFIGS[config])
    mine = ours(writes(name), made)
    assert mine == theirs(writes(name), made)
    assert len({tuple(ids) for ids in mine}) > 2 or config == "short"


@pytest.mark.parametrize("name", ["gpt2", "marian", "t5", "bart"])
def test_control_another_search_is_noticed(name: str, writes: Folder) -> None:
    """One beam for four, another power of the length, and what may come twice."""
    made = WritingConfig(max_tokens=TOKENS, beams=4, no_repeat=2)
    right = theirs(writes(name), made)
    assert ours(writes(name), made) == right
    wrongs = ({"beams": 1}, {"length_penalty": -2.0}, {"no_repeat": 0})
    found = [ours(writes(name), made.with_values(wrong)) for wrong in wrongs]
    assert found[0] != right
    assert sum(one != right for one in found) >= 2  # not every one bears on every text
