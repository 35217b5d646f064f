"""Control tokens: which entries of a tokenizer are any, and encoders that find none in a text.

Both encoders rename every control token to a name that no text can guess. One is never given
those names, so text yields no control id, whatever it spells; the other is given them where the
program itself puts a control token.
"""

import contextlib
import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tokenizers

from ownlm.errors import DataError

MARKER = re.compile(r"[<\[].*[A-Za-z].*[>\]]", re.DOTALL)
"""A name that is a marker although its entry does not say "special" (Qwen's <tool_call>). No
word that the pre-tokenisers of words.py produce has this form, so no token can be learned
that equals one."""
_HTML = re.compile(
    r"</?(table|caption|thead|tbody|tfoot|tr|th|td|h[1-6]|blockquote|strong|em|b|i|u|sub|sup|code)>"
)
"""Markers that are text: Gemma has a token for each of these."""

Parts = Sequence[str | int]
"""Text, and the ids of the control tokens that stand between its pieces."""


def is_control(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of `added_tokens` steers a model, rather than being a piece of text."""
    name = entry["content"]
    marked = MARKER.fullmatch(name) and not _HTML.fullmatch(name)
    return bool(entry["special"] or marked)


def plain_encoder(
    text: str, spec: dict[str, Any], controls: Mapping[str, int]
) -> "tokenizers.Tokenizer":
    """The library's tokenizer, unable to produce a control id from text."""
    added = spec.get("added_tokens") or []
    learned = {entry if isinstance(entry, str) else entry[0] for entry in spec["model"]["vocab"]}
    unmarked = any(is_control(entry) and not entry["special"] for entry in added)
    if unmarked or learned & controls.keys():
        text = json.dumps(_renamed(spec, _secret_names(controls)), ensure_ascii=False)
    inner = _opened(text)
    inner.encode_special_tokens = True
    return inner


class PartsEncoder:
    """Encodes text with control tokens at known places, in one run of the library.

    So the ids are those that the library gives the whole text, where `transformers` would find
    the same control tokens in it: what a tokenizer does at the start of a text, or with spaces
    around a control token, happens here too.
    """

    def __init__(self, spec: dict[str, Any], controls: Mapping[str, int]) -> None:
        names = _secret_names(controls)
        self._names = {id: names[name] for name, id in controls.items()}
        self._inner = _opened(json.dumps(_renamed(spec, names), ensure_ascii=False))

    def __call__(self, batch: Sequence[Parts]) -> list[list[int]]:
        """The ids of each; DataError for a control token that would be lost."""
        texts = ["".join([self._text(part) for part in parts]) for parts in batch]
        with refusals(texts):
            encodings = self._inner.encode_batch_fast(texts, add_special_tokens=False)
        found = [encoding.ids for encoding in encodings]
        for parts, ids in zip(batch, found, strict=True):
            put = [part for part in parts if isinstance(part, int)]
            if [id for id in ids if id in {*put}] != put:
                raise DataError("the tokenizer does not keep a control token that it is given")
        return found

    def _text(self, part: str | int) -> str:
        return part if isinstance(part, str) else self._names[part]


def _opened(text: str) -> "tokenizers.Tokenizer":
    with refusals():
        inner = tokenizers.Tokenizer.from_str(text)
    inner.no_padding()
    inner.no_truncation()
    return inner


def _secret_names(controls: Mapping[str, int]) -> dict[str, str]:
    """A name for each that no text can guess, and that is the beginning of no other."""
    secret = secrets.token_hex(16)
    return {name: f"{secret}{id}x" for name, id in controls.items()}


def _renamed(spec: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The same tokenizer, its control tokens under other names."""
    model, added = dict(spec["model"]), spec.get("added_tokens") or []
    vocab = model["vocab"]
    if isinstance(vocab, dict):
        model["vocab"] = {names.get(token, token): id for token, id in vocab.items()}
    else:
        model["vocab"] = [[names.get(token, token), score] for token, score in vocab]
    if isinstance(model.get("unk_token"), str):
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    if "merges" in model:
        pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
        model["merges"] = [p for p in pairs if not names.keys() & {*p, "".join(p)}]
    marked = [
        {**entry, "content": names[entry["content"]], "special": True}
        if entry["content"] in names
        else entry
        for entry in added
    ]
    # What is put around a text names control tokens too; encoding here adds nothing.
    return {**spec, "model": model, "added_tokens": marked, "post_processor": None}


@contextlib.contextmanager
def refusals(texts: Sequence[str] = ()) -> Iterator[None]:
    """Turn what the library raises over `texts` into a DataError: plain Exceptions, and panics,
    which are BaseExceptions so that nobody catches them by chance."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise _half_character(texts) or DataError(f"the tokenizer fails: {error}") from None


def _half_character(texts: Sequence[str]) -> DataError | None:
    for number, text in enumerate(texts):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as fault:
            return DataError(
                f"half of a surrogate pair (U+{ord(text[fault.start]):04X}) is no Unicode text",
                where=f"text {number}, character {fault.start}",
            )
    return None
