"""samples.md: what the model writes as it learns, one section a step."""

import re
from pathlib import Path

from torch import nn

from ownlm import files, log
from ownlm.inference.language_model import LM
from ownlm.models.model import SingleStack
from ownlm.recipes.config import SampleConfig
from ownlm.tokenization.tokenizer import Tokenizer

TITLE = "# What the model writes\n"
INDENT = "    "
"""Before every line of the model's text: shown as it is, and never taken for a heading."""


class Sampler:
    """The trainer's `sample`: continues the prompt and files the text under its step.

    The same seed each time: what changes between sections is the model. A failure is reported
    and cannot end the training.
    """

    def __init__(self, path: Path, tokenizer: Tokenizer, config: SampleConfig, seed: int) -> None:
        self.path, self.tokenizer, self.config, self.seed = path, tokenizer, config, seed

    def __call__(self, model: nn.Module, step: int) -> None:
        """Write the section of `step`, in place of an earlier one of that step."""
        try:
            text = self.write(model)
        except Exception as error:  # noqa: BLE001 (a sample is not worth a run)
            log.warn(f"no sample at step {step}: {type(error).__name__}: {error}")
            return
        add_section(self.path, step, text)

    def write(self, model: nn.Module) -> str:
        """The prompt and what follows."""
        assert isinstance(model, SingleStack)
        told = self.config
        lm = LM(model, self.tokenizer)
        code = told.code or next(iter(self.tokenizer.codes), "")
        text = lm.generate(
            told.prompt, told.tokens, temperature=told.temperature, seed=self.seed, code=code
        )
        return (f"[{code}] " if code else "") + told.prompt + text


def add_section(path: Path, step: int, text: str) -> None:
    """Add a section; those of this step and later are dropped, as a resumed run comes again."""
    sections = {at: body for at, body in read_sections(path).items() if at < step}
    sections[step] = "".join(f"{INDENT}{line}\n" for line in text.split("\n"))
    body = "".join(f"\n## step {at}\n\n{body}" for at, body in sections.items())
    files.write_text(path, TITLE + body)


def read_sections(path: Path) -> dict[int, str]:
    """The indented text by step."""
    if not path.exists():
        return {}
    content = path.read_text(encoding="utf-8", errors="replace")
    pieces = re.split(r"^\n## step (\d+)\n\n", content, flags=re.MULTILINE)
    return {int(at): body for at, body in zip(pieces[1::2], pieces[2::2])}
