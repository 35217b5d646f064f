"""A model and its tokenizer as one object: load, generate, save."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ownlm.errors import CheckpointError, ConfigError
from ownlm.inference.config import SamplingConfig
from ownlm.inference.decode import decode
from ownlm.inference.sampling import Sampler
from ownlm.inference.stops import until_stop
from ownlm.models.gguf import is_gguf, read_gguf
from ownlm.models.load import Nonfinite, load_model, save_model, set_tokens
from ownlm.models.model import PREFIX_LM, SingleStack
from ownlm.runtime import pick_device
from ownlm.tokenization.from_gguf import from_gguf
from ownlm.tokenization.load import load_tokenizer
from ownlm.tokenization.messages import Messages, Tools
from ownlm.tokenization.tokenizer import Tokenizer

_STEP = re.compile(r"step-(\d+)$")


class LM:
    """A language model that reads and writes text.

    `model` is a torch module (ids to logits), `tokenizer` turns text into ids and back.
    """

    def __init__(
        self, model: SingleStack, tokenizer: Tokenizer, folder: Path | None = None
    ) -> None:
        if tokenizer.vocab_size > model.vocab:
            raise CheckpointError(
                f"the tokenizer has {tokenizer.vocab_size} ids, the model only {model.vocab}",
                where=str(folder or "tokenizer"),
                next_command="use the tokenizer that the model was trained with",
            )
        self.model, self.tokenizer, self.folder = model.eval(), tokenizer, folder
        self.stop_ids = {tokenizer.eos_id, *_eos_ids(model.config)}
        """Ids that end a text, and so its continuation; answers end at `turn_ids` too."""
        self.writer = self.model.writer
        """The model as one that predicts the next token; None for encoders and classifiers,
        which continue no text."""

    def __repr__(self) -> str:
        count = sum(parameter.numel() for parameter in self.model.parameters())
        place = f", {self.folder}" if self.folder else ""
        return f"LM({self.model.family.name}, {count:,} parameters, {self.tokenizer!r}{place})"

    @property
    def turn_ids(self) -> set[int]:
        """Ids that end an answer: those that end a text, and what the chat template ends turns
        with."""
        chat = self.tokenizer.chat
        return self.stop_ids | (set() if chat is None else {*chat.stop_ids})

    def generate(
        self,
        prompt: str | Messages,
        max_tokens: int = 200,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
        stop: Sequence[str] = (),
        min_p: float = 0.0,
        code: str = "",
        tools: Tools = (),
    ) -> str:
        """The text that follows `prompt` (without it), under a control `code` where one is given;
        after messages, the assistant's answer, which may use `tools`.

        Ends after `max_tokens`, at the end-of-text token, or before a string of `stop`.
        Temperature 0 always takes the likeliest token. When the context is full, the window
        slides and the last half of it is read anew. Raises ConfigError for a value out of range.
        """
        values = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
        sampling = SamplingConfig.parse({**values, "seed": seed}, "generate")
        return "".join(self.stream(prompt, max_tokens, sampling, stop, code, tools))

    def stream(
        self,
        prompt: str | Messages,
        max_tokens: int = 200,
        sampling: SamplingConfig | None = None,
        stop: Sequence[str] = (),
        code: str = "",
        tools: Tools = (),
    ) -> Iterator[str]:
        """The same piece by piece, as soon as it is decided; never half a character."""
        self.require_writer()
        if max_tokens < 0:
            raise ConfigError(f"expected 0 or more, found {max_tokens}", where="max_tokens")
        if isinstance(stop, str):
            stop = (stop,)
        sampler = Sampler(sampling or SamplingConfig())
        ids = self.prompt_ids(prompt, code, tools)
        ends = self.stop_ids if isinstance(prompt, str) else self.turn_ids
        return until_stop(self._pieces(ids, sampler, max_tokens, ends), stop)

    def require_writer(self) -> Any:
        """The model as one that predicts the next token; ConfigError when it is none."""
        if self.writer is None:
            made = self.model.architecture
            kind = "an encoder" if made.head.vocab else f"under the head {made.form}"
            raise ConfigError(
                f"{self.model.family.name} is {kind}: it cannot continue a text",
                where=str(self.folder or "model"),
                next_command="name a decoder, such as a GPT-2 or LLaMA model",
            )
        return self.writer

    def prompt_ids(self, prompt: str | Messages, code: str = "", tools: Tools = ()) -> list[int]:
        """What the model reads first: the tokens that begin a text, as the tokenizer says, a
        control code, and the text. An empty prompt is the end of the text before. Messages are
        written by the tokenizer's chat template, up to where the assistant answers."""
        if not isinstance(prompt, str):
            return self.tokenizer.need_chat().prompt(prompt, tools)
        begin = self.tokenizer.start + ([self.tokenizer.code(code)] if code else [])
        return begin + self.tokenizer.encode(prompt) or [self.tokenizer.eos_id]

    def save(self, folder: Path | str, max_shard_bytes: int | None = None) -> None:
        """Write a Hugging Face folder: configuration, weights and tokenizer.

        `max_shard_bytes` cuts weights that take more into several files.
        """
        t, ends, turns = self.tokenizer, _eos_ids(self.model.config), self.turn_ids
        set_tokens(self.model, bos=t.bos_id, eos=t.eos_id, pad=t.pad_id)
        if t.eos_id in ends and len(ends) > 1:  # LLaMA 3 ends texts and turns
            self.model.config["eos_token_id"] = ends
        if turns - self.stop_ids:  # for other programs, which know no chat template's ends
            self.model.config["eos_token_id"] = [t.eos_id, *sorted(turns - {t.eos_id})]
        save_model(self.model, folder, max_shard_bytes)
        self.tokenizer.save(Path(folder))

    def _pieces(
        self, ids: list[int], sampler: Sampler, max_tokens: int, ends: set[int]
    ) -> Iterator[str]:
        decoder = self.tokenizer.stream()
        for token in ids:
            decoder.push(token)  # the first new piece then keeps its leading space

        def choose(logits_V: Tensor) -> int:
            return sampler(logits_V[: self.tokenizer.vocab_size])

        both_ways = self.model.config.get(PREFIX_LM) is True
        for token in decode(self.require_writer(), ids, choose, max_tokens, both_ways=both_ways):
            if token in ends:
                break
            if piece := decoder.push(token):
                yield piece
        if piece := decoder.end():
            yield piece


def load(
    path: str | Path,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    nonfinite: Nonfinite = "warn",
) -> LM:
    """The language model in a model folder, in a GGUF file, or in a run folder (its `model/`,
    else its newest checkpoint).

    `device` None takes the best there is; `dtype` None is float32 on a CPU and the stored type
    elsewhere. `nonfinite` weights (NaN, infinity) are warned of, refused, or allowed. Raises
    CheckpointError or DataError (ValueErrors) that name the file and the fix.
    """
    folder = find_model(Path(path))
    place = pick_device(str(device or ""))
    kind = _dtype(dtype)
    if kind is None and place.type == "cpu":
        kind = torch.float32
    tokenizer = _tokenizer(folder)
    model, _ = load_model(folder, place, kind, nonfinite)
    return LM(model, tokenizer, folder)


def load_tokenizer_of(path: str | Path) -> Tokenizer:
    """The tokenizer alone of what `load` takes, and of a folder that holds a tokenizer only."""
    path = Path(path)
    if path.is_dir() and not any((path / place).is_dir() for place in ("model", "checkpoints")):
        return load_tokenizer(path)
    return _tokenizer(find_model(path))


def _tokenizer(path: Path) -> Tokenizer:
    if is_gguf(path):
        return from_gguf(read_gguf(path).metadata, str(path))
    return load_tokenizer(path)


def find_model(path: Path) -> Path:
    """The model folder or GGUF file that `path` means; CheckpointError says what was looked for."""
    if is_gguf(path):
        return path
    if (path / "config.json").is_file():
        return path
    if (path / "model" / "config.json").is_file():
        return path / "model"
    checkpoints = [c for c in path.glob("checkpoints/step-*") if (c / "config.json").is_file()]
    if checkpoints:
        return max(checkpoints, key=_step)
    if not path.exists():
        what = "no such folder"
    elif path.is_file():
        what = "a file, but no GGUF file (.gguf)"
    elif (path / "checkpoints").is_dir() or (path / "recipe.yaml").is_file():
        what = "this run has no model/ and no checkpoint yet"
    else:
        what = "neither a model folder (config.json) nor a run folder (model/, checkpoints/)"
    raise CheckpointError(
        what,
        where=str(path),
        next_command="name a folder that `ownlm pretrain` or transformers' save_pretrained wrote",
    )


def _step(checkpoint: Path) -> int:
    found = _STEP.search(checkpoint.name)
    return int(found.group(1)) if found else -1


def _dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    names = {
        "float32": torch.float32, "fp32": torch.float32, "bfloat16": torch.bfloat16,
        "bf16": torch.bfloat16, "float16": torch.float16, "fp16": torch.float16,
    }  # fmt: skip
    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in names:
        raise ConfigError(
            f"{dtype!r} is unknown", where="dtype", next_command=f"one of {', '.join(names)}"
        )
    return names[dtype]


def _eos_ids(config: dict[str, Any]) -> list[int]:
    """config.json names one end token or several (LLaMA 3)."""
    ids = config.get("eos_token_id")
    ids = ids if isinstance(ids, list) else [ids]
    return [i for i in ids if isinstance(i, int)]
