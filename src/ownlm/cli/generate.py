"""`ownlm generate MODEL "prompt"`: continue a text, streaming to the terminal; an encoder-decoder
writes what it has learned to answer."""

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import tyro
from pydantic import Field

from ownlm.cli.options import parse, value_of
from ownlm.errors import DataError
from ownlm.inference.config import SamplingConfig, WritingConfig

if TYPE_CHECKING:
    from ownlm.inference.language_model import LM


class GenerateOptions(SamplingConfig):
    """Continue a prompt."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """Model folder, run folder or GGUF file."""
    prompt: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPT")] = ""
    """Text to continue; '-' reads it from standard input, empty begins a text of its own."""
    code: str = ""
    """Control code to write under, of a model that has learned some (CTRL)."""
    max_tokens: int = Field(default=200, ge=0)
    """Tokens to write at most."""
    temperature: float = Field(default=0.8, ge=0.0, le=100.0)
    """0 always takes the likeliest token; 1 samples as the model predicts; more is wilder. An
    encoder-decoder takes the likeliest unless told."""
    beams: int = Field(default=1, ge=1, le=64)
    """More than 1: beam search in place of sampling, shown when it is done."""
    stop: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """End before this string; may be given several times."""
    device: str = ""
    """cpu, cuda, mps; empty: the best there is."""
    dtype: str = ""
    """fp32, bf16, fp16; empty: fp32 on a CPU, the stored type elsewhere."""
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False
    """Print one JSON object when done instead of streaming text."""

    @property
    def sampling(self) -> SamplingConfig:
        """The part that chooses tokens."""
        return SamplingConfig(**{key: getattr(self, key) for key in SamplingConfig.model_fields})


def run(args: list[str]) -> int:
    """The command; returns the exit code."""
    options = parse(GenerateOptions, args, prog="ownlm generate", description=__doc__)
    prompt = _read_prompt() if options.prompt == "-" else _require_text(options.prompt)
    from ownlm.inference.language_model import load

    lm = load(options.model, options.device or None, options.dtype or None)
    if lm.answers and value_of(args, "--temperature") is None:
        options = options.with_values({"temperature": 0.0})
    pieces = _pieces(lm, prompt, options)
    if options.json_output:
        _print_json(options, prompt, "".join(pieces))
    else:
        show([] if lm.answers else [prompt], pieces)
    return 0


def _pieces(lm: "LM", prompt: str, options: GenerateOptions) -> Iterator[str]:
    if options.beams == 1:
        sampling = options.sampling
        return lm.stream(prompt, options.max_tokens, sampling, options.stop, options.code)
    from ownlm.inference.stops import until_stop

    config = WritingConfig(beams=options.beams, max_tokens=options.max_tokens)
    return until_stop([one.text for one in lm.write([prompt], config)], options.stop)


def show(before: list[str], pieces: Iterator[str]) -> str:
    """Write text to the terminal as it comes; returns the pieces joined."""
    written = []
    for text in before:
        sys.stdout.write(text)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
        written.append(piece)
    sys.stdout.write("\n")
    return "".join(written)


def _read_prompt() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text: {error.reason}", where=f"stdin:{error.start}") from None


def _require_text(prompt: str) -> str:
    try:
        prompt.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError("not UTF-8 text", where=f"prompt:{error.start}") from None
    return prompt


def _print_json(options: GenerateOptions, prompt: str, text: str) -> None:
    found = {"model": options.model, "prompt": prompt, "text": text}
    found |= options.sampling.model_dump() | {"max_tokens": options.max_tokens}
    found |= {"code": options.code} if options.code else {}
    print(json.dumps(found, ensure_ascii=False))
