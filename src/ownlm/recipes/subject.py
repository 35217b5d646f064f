"""What is finetuned: a model with the head of its task, its tokenizer, and where it came from."""

import hashlib
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ownlm.errors import ConfigError
from ownlm.files import sha256
from ownlm.inference.find import find_model
from ownlm.inference.language_model import load_tokenizer_of, name_ends
from ownlm.models.adapters import is_adapter
from ownlm.models.families import family_named
from ownlm.models.grow import grown
from ownlm.models.heads import numbered, told_head
from ownlm.models.load import build_any, hf_values, load_any, sketched
from ownlm.models.model import Model
from ownlm.models.rehead import load_with_head
from ownlm.objectives.tasks.make import head_of
from ownlm.recipes.tuning import WRITERS, FinetuneConfig
from ownlm.tokenization.load import load_tokenizer
from ownlm.tokenization.templates import with_template
from ownlm.tokenization.tokenizer import Tokenizer
from ownlm.tokenization.train import train_tokenizer


class Subject(NamedTuple):
    """A model that is about to learn a task."""

    model: Model
    tokenizer: Tokenizer
    base: str
    """The folder or file of its weights; empty for a new model."""
    digest: str
    """Of the weights that it begins with."""
    new: tuple[str, ...] = ()
    """Tensors that are not trained yet, of a pretrained model."""


def subject(config: FinetuneConfig, labels: Sequence[str], texts: Iterable[str]) -> Subject:
    """The model and tokenizer that a configuration names; a new one's tokenizer learns `texts`.

    Raises ConfigError for a model that cannot have the task's head, and all of loading.
    """
    if config.begins_new:
        return _new(config, labels, texts)
    folder = find_model(Path(config.model))
    if is_adapter(folder):
        raise ConfigError(
            "an adapter cannot be finetuned further",
            where=config.model,
            next_command=f"ownlm merge {shlex.quote(config.model)} --out FOLDER first",
        )
    tokenizer, seed = load_tokenizer_of(config.model), config.train.seed
    head = head_of(config.task, sketched(folder)[1].family)
    if not head:
        model, _ = load_any(folder, dtype=torch.float32)
        _require_writer(model, config)
        new: tuple[str, ...] = ()
        if config.task == "chat" and tokenizer.chat is None:
            model, tokenizer, new = _with_turns(model, tokenizer, config)
        return Subject(model, tokenizer, str(folder), weights_digest(folder), new)
    found = load_with_head(folder, head, seed=seed, labels=labels or 1, dtype=torch.float32)
    return Subject(found.model, tokenizer, str(folder), weights_digest(folder), found.new)


def _with_turns(
    model: Model, tokenizer: Tokenizer, config: FinetuneConfig
) -> tuple[Model, Tokenizer, tuple[str, ...]]:
    """A base model whose tokenizer has no chat template, with ours and rows for its tokens.

    ConfigError where these would not train: a model could never learn to end its turn.
    """
    made = with_template(tokenizer)
    added = made.vocab_size - tokenizer.vocab_size
    if added and config.adapt.kind != "all":
        raise ConfigError(
            f"{config.model} has no chat template; ours adds {added} tokens, which only learn "
            f"where the token table trains, and {config.adapt.kind} leaves it as it is",
            where="adapt.kind",
            next_command="--adapt.kind all, or a model that was taught to chat before",
        )
    names = sorted({*made.special} - {*tokenizer.special})
    return grown(model, made.vocab_size), made, tuple(f"token {name}" for name in names)


def weights_digest(folder: Path) -> str:
    """SHA-256 over the weights of a model folder, or of a GGUF file."""
    paths = [folder] if folder.is_file() else sorted(folder.glob("*.safetensors"))
    return hashlib.sha256("".join(sha256(path) for path in paths).encode()).hexdigest()


def _new(config: FinetuneConfig, labels: Sequence[str], texts: Iterable[str]) -> Subject:
    path = config.tokenizer.path
    tokenizer = load_tokenizer(Path(path)) if path else train_tokenizer(texts, config.tokenizer)
    if config.task == "chat":
        tokenizer = with_template(tokenizer)
    family = family_named(config.shape.family)
    head = head_of(config.task, family)
    sized = config.shape.model_copy(
        update={"vocab": tokenizer.vocab_size, "head": head, "labels": len(labels) or 1}
    )
    values: dict[str, Any] = hf_values(sized)
    if head:
        values |= told_head(head, family.heads, labels or numbered(1), family.name)
    model = build_any(values, seed=config.train.seed)
    _require_writer(model, config)
    name_ends(model, tokenizer, turns=config.task == "chat")  # its task reads them off config.json
    return Subject(model, tokenizer, "", f"new, seed {config.train.seed}")


def _require_writer(model: Model, config: FinetuneConfig) -> None:
    """ConfigError for a task that writes, of a model that cannot."""
    a = model.architecture
    if config.task in WRITERS and not (a.head.vocab and a.stack.causal):
        raise ConfigError(
            f"{model.family.name} reads and does not write: it cannot learn {config.task}",
            where=config.model,
            next_command="a decoder (GPT-2, LLaMA, ...) or an encoder-decoder (T5, BART, ...)",
        )
