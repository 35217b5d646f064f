"""A model and its tokenizer as one object: load, generate, save.

A decoder continues a text; an encoder-decoder reads one and writes another.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ownlm.data.tasks.predictions import Writing
from ownlm.errors import CheckpointError, ConfigError
from ownlm.inference.batch import write
from ownlm.inference.candidates import Terms
from ownlm.inference.config import SamplingConfig, WritingConfig
from ownlm.inference.decode import decode
from ownlm.inference.find import find_model
from ownlm.inference.reading import Answering, Continuing, Reply
from ownlm.inference.sampling import Sampler
from ownlm.inference.stops import until_stop
from ownlm.models.adapters import is_adapter
from ownlm.models.gguf import is_gguf, read_gguf
from ownlm.models.load import Nonfinite, decoder_start, load_any, save_model, set_tokens
from ownlm.models.model import PREFIX_LM, EncoderDecoder, Model
from ownlm.models.with_adapter import base_of, load_with_adapter
from ownlm.objectives.two_sided import Frame
from ownlm.objectives.vocabulary import roles
from ownlm.runtime import pick_device, pick_dtype
from ownlm.tokenization.from_gguf import from_gguf
from ownlm.tokenization.load import load_tokenizer
from ownlm.tokenization.messages import Messages, Tools
from ownlm.tokenization.tokenizer import Tokenizer


class LM:
    """A language model that reads and writes text.

    `model` is a torch module (ids to logits), `tokenizer` turns text into ids and back.
    """

    def __init__(self, model: Model, tokenizer: Tokenizer, folder: Path | None = None) -> None:
        if tokenizer.vocab_size > model.vocab:
            raise CheckpointError(
                f"the tokenizer has {tokenizer.vocab_size} ids, the model only {model.vocab}",
                where=str(folder or "tokenizer"),
                next_command="use the tokenizer that the model was trained with",
            )
        self.model, self.tokenizer, self.folder = model.eval(), tokenizer, folder
        self.stop_ids = {tokenizer.eos_id, *_eos_ids(model.config)}
        """Ids that end a text, and so its continuation; answers end at `turn_ids` too."""
        self.writer: Any = model.writer
        """The model as one that predicts the next token; None for encoders, classifiers and
        encoder-decoders, which continue no text."""

    def __repr__(self) -> str:
        count = sum(parameter.numel() for parameter in self.model.parameters())
        place = f", {self.folder}" if self.folder else ""
        return f"LM({self.model.family.name}, {count:,} parameters, {self.tokenizer!r}{place})"

    @property
    def answers(self) -> bool:
        """Whether it reads a text and writes another one: an encoder-decoder."""
        return isinstance(self.model, EncoderDecoder) and bool(self.model.architecture.head.vocab)

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
        after messages, the assistant's answer, which may use `tools`; of an encoder-decoder what
        it writes for it.

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
        self.require_words()
        if max_tokens < 0:
            raise ConfigError(f"expected 0 or more, found {max_tokens}", where="max_tokens")
        if isinstance(stop, str):
            stop = (stop,)
        ids = self.prompt_ids(prompt, code, tools)
        ends = self.stop_ids if isinstance(prompt, str) else self.turn_ids
        sampler = Sampler(sampling or SamplingConfig(), () if self.answers else ids)
        pieces = self._pieces(ids, sampler, max_tokens, ends)
        return until_stop(pieces, stop)

    def write(
        self, prompts: Sequence[str | Messages], config: WritingConfig | None = None
    ) -> list[Writing]:
        """What `generate` would say to each prompt, many at a time, greedily or by beam search;
        and whether the model ended it. A context that is full ends a text."""
        self.require_words()
        ends = self.stop_ids if all(isinstance(one, str) for one in prompts) else self.turn_ids
        banned = () if self.tokenizer.pad_id is None else (self.tokenizer.pad_id,)
        terms = Terms(
            config=config or WritingConfig(),
            ends=ends,
            vocab=self.tokenizer.vocab_size,
            banned=[id for id in banned if id not in ends],
        )
        asked = [self.prompt_ids(prompt) for prompt in prompts]
        found = write(self._writing(), asked, terms)
        return [
            Writing(self._behind(ids, one.ids), one.complete)
            for ids, one in zip(asked, found, strict=True)
        ]

    @property
    def frame(self) -> Frame:
        """How an encoder-decoder marks what it reads and writes."""
        config, named = self.model.config, roles(self.tokenizer.special)
        end = named.get("end", self.tokenizer.eos_id)
        start = {"pad": named.get("pad", end), "end": end}[decoder_start(config)]
        if self.tokenizer.eos_id in _eos_ids(config):  # its numbers are of this tokenizer
            start = config.get("decoder_start_token_id", start)
        return Frame.of(named, start, end)

    def require_writer(self) -> Any:
        """The model as one that predicts the next token; ConfigError when it is none."""
        if self.writer is None:
            made = self.model.architecture
            kind = "an encoder" if made.head.vocab else f"made for another task ({made.form})"
            if made.encoder is not None and made.head.vocab:
                kind = "an encoder-decoder"
            raise ConfigError(
                f"{self.model.family.name} is {kind}: it cannot continue a text",
                where=str(self.folder or "model"),
                next_command="name a decoder, such as a GPT-2 or LLaMA model; what another "
                "reached in its own training is in the run's evaluation.json",
            )
        return self.writer

    def prompt_ids(self, prompt: str | Messages, code: str = "", tools: Tools = ()) -> list[int]:
        """What the model reads first: the tokens that begin a text, as the tokenizer says, a
        control code, and the text. An empty prompt is the end of the text before. Messages are
        written by the tokenizer's chat template, up to where the assistant answers. The source
        of an encoder-decoder has the marks that it was trained with, and is cut to its context.
        """
        if isinstance(self.model, EncoderDecoder) and isinstance(prompt, str):
            source = self.frame.source(self.tokenizer.encode(prompt))
            return [int(id) for id in self.frame.shortened(source, self.model.context)]
        if not isinstance(prompt, str):
            return self.tokenizer.need_chat().prompt(prompt, tools)
        begin = self.tokenizer.start + ([self.tokenizer.code(code)] if code else [])
        return begin + self.tokenizer.encode(prompt) or [self.tokenizer.eos_id]

    def save(self, folder: Path | str, max_shard_bytes: int | None = None) -> None:
        """Write a Hugging Face folder: configuration, weights and tokenizer.

        `max_shard_bytes` cuts weights that take more into several files.
        """
        name_ends(self.model, self.tokenizer, turns=True)
        save_model(self.model, folder, max_shard_bytes)
        self.tokenizer.save(Path(folder))

    def require_words(self) -> None:
        """ConfigError for a model that neither continues a text nor answers one."""
        if not self.answers:
            self.require_writer()

    def _writing(self) -> Answering | Continuing:
        """The model for texts in batches."""
        if isinstance(self.model, EncoderDecoder):
            return Answering(self.model, self.frame.opening)
        return Continuing(self.require_writer(), both_ways=self.both_ways)

    @property
    def both_ways(self) -> bool:
        """Whether it reads prompts in both directions, as a prefix."""
        return self.model.config.get(PREFIX_LM) is True

    def _behind(self, prompt: list[int], written: list[int]) -> str:
        """The text of what was written; behind a prompt it keeps its leading space."""
        decoder = self.tokenizer.stream()
        for token in [] if isinstance(self.model, EncoderDecoder) else prompt:
            decoder.push(token)
        return "".join([*map(decoder.push, written), decoder.end()])

    def _pieces(
        self, ids: list[int], sampler: Sampler, max_tokens: int, ends: set[int]
    ) -> Iterator[str]:
        decoder, writer = self.tokenizer.stream(), self.writer
        if isinstance(self.model, EncoderDecoder):
            writer, ids = Reply(self.model, ids), self.frame.opening
        else:
            for token in ids:
                decoder.push(token)  # the first new piece then keeps its leading space

        def choose(logits_V: Tensor) -> int:
            return sampler(logits_V[: self.tokenizer.vocab_size])

        for token in decode(writer, ids, choose, max_tokens, both_ways=self.both_ways):
            if token in ends:
                break
            if piece := decoder.push(token):
                yield piece
        if piece := decoder.end():
            yield piece


def name_ends(model: Model, tokenizer: Tokenizer, *, turns: bool) -> None:
    """Tell a model's config.json the ids that begin, end and pad its texts, and with `turns`
    those that end answers: other programs know no chat template's ends."""
    t, ends = tokenizer, _eos_ids(model.config)
    chat = t.chat if turns else None
    others = {*ends, *(() if chat is None else chat.stop_ids)} - {t.eos_id}
    set_tokens(model, bos=t.bos_id, eos=t.eos_id, pad=t.pad_id)
    if t.eos_id in ends and len(ends) > 1:  # LLaMA 3 ends texts and turns
        model.config["eos_token_id"] = ends
    if others - {*ends}:
        model.config["eos_token_id"] = [t.eos_id, *sorted(others)]


def load(
    path: str | Path,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    nonfinite: Nonfinite = "warn",
    base: str | Path = "",
) -> LM:
    """The language model in a model folder, in a GGUF file, or in a run folder (its `model/`,
    else its newest checkpoint). Any of these may be an adapter's: `base` is the model that it was
    trained on, where that is not where the folder says.

    `device` None takes the best there is; `dtype` None is float32 on a CPU and the stored type
    elsewhere. `nonfinite` weights (NaN, infinity) are warned of, refused, or allowed. Raises
    CheckpointError or DataError (ValueErrors) that name the file and the fix.
    """
    folder = find_model(Path(path))
    place = pick_device(str(device or ""))
    kind = pick_dtype(dtype)
    if kind is None and place.type == "cpu":
        kind = torch.float32
    if is_adapter(folder):
        adapted = load_with_adapter(folder, base, place, kind)
        return LM(adapted, _tokenizer(folder, base), folder)
    tokenizer = _tokenizer(folder)
    model, _ = load_any(folder, place, kind, nonfinite)
    return LM(model, tokenizer, folder)


def load_tokenizer_of(path: str | Path) -> Tokenizer:
    """The tokenizer alone of what `load` takes, and of a folder that holds a tokenizer only."""
    path = Path(path)
    if path.is_dir() and not any((path / place).is_dir() for place in ("model", "checkpoints")):
        return load_tokenizer(path)
    return _tokenizer(find_model(path))


def _tokenizer(path: Path, base: str | Path = "") -> Tokenizer:
    if is_adapter(path) and not (path / "tokenizer.json").is_file():
        return _tokenizer(find_model(base_of(path, base)))
    if is_gguf(path):
        return from_gguf(read_gguf(path).metadata, str(path))
    return load_tokenizer(path)


def _eos_ids(config: dict[str, Any]) -> list[int]:
    """config.json names one end token or several (LLaMA 3)."""
    ids = config.get("eos_token_id")
    ids = ids if isinstance(ids, list) else [ids]
    return [i for i in ids if isinstance(i, int)]
