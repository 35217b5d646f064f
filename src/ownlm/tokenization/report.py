"""What a tokenizer does to some texts: how far it compresses each language, what lies idle."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ownlm.tokenization.tokenizer import Tokenizer

if TYPE_CHECKING:
    from rich.console import RenderableType

_LISTED = 12


@dataclass(frozen=True)
class Language:
    """One of the texts, encoded."""

    bytes: int
    tokens: int
    bytes_per_token: float
    characters_per_token: float
    unknown: int
    """Tokens that stand for characters which are not in the vocabulary."""


@dataclass(frozen=True)
class TokenizerReport:
    """Numbers about a tokenizer; more bytes per token means shorter sequences."""

    kind: str
    vocab_size: int
    digest: str
    controls: dict[str, int]
    languages: dict[str, Language] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    """Tokens that none of the texts needed, in the order of their ids, without controls."""
    longest: list[str] = field(default_factory=list)
    """The texts of the longest tokens, by bytes."""

    def bytes_per_token(self) -> dict[str, float]:
        """UTF-8 bytes that one token stands for, on average, by language."""
        return {name: found.bytes_per_token for name, found in self.languages.items()}

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return asdict(self)

    def __rich__(self) -> "RenderableType":
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table("text", "bytes", "tokens", "bytes/token", "characters/token", "unknown")
        for column in table.columns[1:]:
            column.justify = "right"
        for name, found in self.languages.items():
            ratios = (f"{found.bytes_per_token:.3f}", f"{found.characters_per_token:.3f}")
            counts = (f"{found.bytes:,}", f"{found.tokens:,}", *ratios, f"{found.unknown:,}")
            table.add_row(Text(name), *counts)
        lines = [
            f"{self.kind}, {self.vocab_size:,} ids, digest {self.digest[:16]}",
            "controls: " + "  ".join(f"{name} {id}" for name, id in self.controls.items()),
            "longest:  " + "  ".join(repr(text) for text in self.longest),
        ]
        if self.languages:
            some = "  ".join(repr(token) for token in self.unused[:_LISTED])
            share = len(self.unused) / self.vocab_size
            lines.append(f"unused:   {len(self.unused):,} ({share:.1%})  {some}")
        texts = [Text(line) for line in lines]
        return Group(texts[0], *([table] if self.languages else []), *texts[1:])


def report(tokenizer: Tokenizer, samples: Mapping[str, str]) -> TokenizerReport:
    """Encode `samples`, a text by language, and count."""
    used: Counter[int] = Counter()
    languages = {}
    for name, text in samples.items():
        ids = tokenizer.encode(text)
        used.update(ids)
        languages[name] = _language(text, ids, tokenizer.unk_id)
    controls = set(tokenizer.special.values())
    learned = [id for id in range(tokenizer.vocab_size) if id not in controls]
    by_length = sorted(learned, key=lambda id: (-len(tokenizer.pieces[id]), id))
    return TokenizerReport(
        kind=tokenizer.kind,
        vocab_size=tokenizer.vocab_size,
        digest=tokenizer.digest,
        controls=dict(tokenizer.special),
        languages=languages,
        unused=[tokenizer.readable(id) for id in learned if not used[id]],
        longest=[tokenizer.readable(id) for id in by_length[:_LISTED]],
    )


def _language(text: str, ids: list[int], unknown: int | None) -> Language:
    size, tokens = len(text.encode("utf-8")), len(ids)
    return Language(
        bytes=size,
        tokens=tokens,
        bytes_per_token=size / max(1, tokens),
        characters_per_token=len(text) / max(1, tokens),
        unknown=sum(id == unknown for id in ids),
    )
