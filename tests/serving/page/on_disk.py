"""Tiny models and runs on disk, for a server that a browser looks at; some mean harm."""

from pathlib import Path

import torch
from looked_at import made
from person import TEMPLATE

from ownlm.inference.language_model import LM
from ownlm.log import MetricsLog
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.recipes.samples import add_section
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.train import train_tokenizer

EVIL = "<img src=x onerror=b()>"
"""Calls the page's b() where it is taken for HTML; may be the name of a file."""
ATTACK = "<svg/onlOad=b()>"
"""The same, with no character twice: a model that knows which one follows which can write it."""


def models(folder: Path) -> list[str]:
    """Models of all three families as `ownlm serve` takes them: the first one says ATTACK."""
    judge = made("bert", head="ForSequenceClassification")
    judge.model.config["id2label"] = {"0": "ham", "1": EVIL}
    judge.model.config["label2id"] = {"ham": 0, EVIL: 1}
    tagger = made("bert", head="ForTokenClassification")
    lms = {EVIL: parrot(), "plain": made("gpt2", context=256), "encoder": made("bert"),
           "pair": made("t5"), "judge": judge, "tagger": tagger}  # fmt: skip
    for name, lm in lms.items():
        lm.save(folder / name)
    return [str(folder / name) for name in lms]


def parrot() -> LM:
    """Says ATTACK again and again, whatever it was told, or else z: its stream is the last token
    alone, and its output matrix holds what follows each."""
    controls = ("<|begin|>", "<sep>")
    tokenizer = train_tokenizer(["x"], TokenizerConfig(kind="byte", controls=controls))
    tokenizer.settings["chat_template"] = TEMPLATE
    size = tokenizer.vocab_size
    dim = size + -size % 8
    shape = {"dim": dim, "heads": 4, "layers": 1, "context": 8192, "hidden": 64, "vocab": size}
    model = build_model(ModelConfig(family="llama", tied=False, **shape), seed=1)
    one, *others = [tokenizer.encode(letter)[0] for letter in ATTACK]
    follows = dict.fromkeys(range(size), one) | dict(zip([one, *others], [*others, one]))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.zero_()
        model.embed.tokens.weight.copy_(torch.eye(size, dim))
        assert model.head.weight is not None, "it is not tied"
        model.head.weight[tokenizer.encode("z")] = 7 / dim**0.5
        for id, next_id in follows.items():
            model.head.weight[next_id, id] = 16 / dim**0.5  # a logit of 16: the norm adds the root
    return LM(model, tokenizer)


def row(step: int) -> dict[str, float]:
    """A line of a log."""
    return {"step": step, "loss": 9 - step / 9, "tokens": 10 * step, "tokens_per_second": 5.0}


def runs(folder: Path) -> None:
    """Two runs: `steady`, and one whose name, setting and sample mean harm."""
    for name in ("steady", EVIL):
        with MetricsLog(folder / name / "log.jsonl") as log:
            for step in range(1, 31):
                log.write(row(step))
        recipe = f"train: {{lr: '{name}'}}\nout: x\n"
        (folder / name / "recipe.yaml").write_text(recipe, encoding="utf-8")
        add_section(folder / name / "samples.md", 10, EVIL)
