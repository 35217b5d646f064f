"""A tokenizer: text to ids and back. The work is done by the `tokenizers` library.

Plain text never becomes a control token here, whatever it spells: control ids are appended by
the code that builds a sequence, never found in a string. In the library a control string can
still come out of the model's own vocabulary (T5's Unigram reads "</s>" as its end of text even
when told not to look for special tokens), so the copy that encodes has such entries renamed.
"""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tokenizers

from ownlm import files
from ownlm.errors import ConfigError, DataError
from ownlm.tokenization.around import Forms, forms, starting_ids
from ownlm.tokenization.codes import code_id, codes_among
from ownlm.tokenization.controls import Parts, PartsEncoder, is_control, plain_encoder, refusals
from ownlm.tokenization.pieces import Pieces, StreamDecoder
from ownlm.tokenization.words import WORD_LIMIT, is_bounded

if TYPE_CHECKING:
    from ownlm.tokenization.chat import Applied, ChatTemplate

FILE, SETTINGS_FILE = "tokenizer.json", "tokenizer_config.json"
PASSING = "ownlm_passing_ids"
"""Key of tokenizer_config.json: how many ids at the end merges pass through, but no text ends in.
They count as the unknown token (CTRL)."""
WINDOW = 1 << 18
"""Characters encoded at once; the library holds about 200 bytes for each (700 for an emoji)."""
ROLES = {
    "eos": ("<|endoftext|>", "</s>", "[SEP]", "<eos>", "<|end_of_text|>"),
    "bos": ("<s>", "[CLS]", "<bos>", "<|begin_of_text|>"),
    "pad": ("<|pad|>", "<pad>", "[PAD]"),
    "unk": ("<unk>", "[UNK]"),
}
"""Customary names, for files whose tokenizer_config.json does not say who plays a role."""


class Tokenizer:
    """Ids 0..vocab_size-1 for text; control tokens are known by name in `special`.

    Made from the text of a sound tokenizer.json (load.py checks foreign ones, train.py makes
    new ones) and the values of its tokenizer_config.json. Raises DataError when no end-of-text
    token can be found.
    """

    def __init__(self, text: str, settings: Mapping[str, Any]) -> None:
        spec = json.loads(text)
        self.settings = dict(settings)
        self._text, self._spec = text, spec
        self._tokens = token_names(spec)
        self._passing = _passing_ids(settings, len(self._tokens))
        self.vocab_size = len(self._tokens) - self._passing
        added = [entry for entry in spec.get("added_tokens") or [] if is_control(entry)]
        self.special: dict[str, int] = {entry["content"]: entry["id"] for entry in added}
        hidden = frozenset(entry["id"] for entry in added if entry["special"])
        self._inner = plain_encoder(text, spec, self.special)
        self._bounded = len(added) == len(spec.get("added_tokens") or []) and is_bounded(
            spec.get("normalizer"), spec.get("pre_tokenizer")
        )
        self.pieces = Pieces(
            self._tokens, self._inner.decoder, frozenset(self.special.values()), hidden
        )
        self.start: list[int] = starting_ids(spec.get("post_processor"))
        """Ids that a model reads before a text, by what tokenizer.json puts around one."""
        self._set_roles()

    def __len__(self) -> int:
        return self.vocab_size

    def __repr__(self) -> str:
        return f"Tokenizer({self.kind}, {self.vocab_size:,} ids, digest {self.digest[:12]})"

    @property
    def kind(self) -> str:
        """The library's name of the model: BPE, WordPiece, Unigram or WordLevel."""
        return type(self._inner.model).__name__

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of what the tokenizer.json says, however it is indented or its keys ordered.

        Shards and checkpoints carry it, so that ids are never read with another vocabulary.
        """
        canonical = json.dumps(
            self._spec, sort_keys=True, ensure_ascii=False, separators=(",", ":")
        )
        return hashlib.sha256(canonical.encode("utf-8")).hexdigest()

    def token(self, id: int) -> str:
        """The name of an id in the vocabulary; ' the' is 'Ġthe' where bytes are shown so."""
        return self._tokens[id]

    def readable(self, id: int) -> str:
        """What an id stands for, for people; bytes that are no character show as \\xe4."""
        return self.pieces[id].decode("utf-8", "backslashreplace")

    def encode(self, text: str) -> list[int]:
        """The ids of `text`: no control token is found in it, none is added.

        Raises DataError for a string that is not Unicode (half of a surrogate pair).
        """
        if len(text) > WINDOW and self._bounded:
            return self._encode_windows(text)
        return self._run([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, the same as from `encode`, on all cores."""
        if self._bounded and any(len(text) > WINDOW for text in texts):
            return [self.encode(text) for text in texts]
        return self._run(texts)

    def encode_places(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of a text, and the characters of it that each stands for, from and to: white
        space before a word is not counted. Several ids of one character each stand for it."""
        with refusals([text]):
            encoding = self._inner.encode(text, add_special_tokens=False)
        return self._known(encoding.ids), [_trimmed(text, *at) for at in encoding.offsets]

    @functools.cached_property
    def forms(self) -> Forms | None:
        """What is put around one text and around two, where tokenizer.json says so."""
        return forms(self._spec.get("post_processor"))

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """The text of `ids`; bytes that are no UTF-8, and unknown ids, become U+FFFD."""
        return self.pieces.join(ids, skip_special=skip_special).decode("utf-8", "replace")

    def stream(self, *, skip_special: bool = True) -> StreamDecoder:
        """A decoder for ids that arrive one by one."""
        return StreamDecoder(self.pieces, skip_special=skip_special)

    @property
    def codes(self) -> dict[str, int]:
        """Ids of the control codes by what they are called."""
        return codes_among(self.special)

    def code(self, name: str) -> int:
        """The id of a control code; ConfigError lists those that there are."""
        return code_id(self.codes, name)

    @property
    def spec(self) -> Mapping[str, Any]:
        """The sections of its tokenizer.json; not to be changed."""
        spec: Mapping[str, Any] = self._spec
        return spec

    @property
    def definition(self) -> str:
        """The text of its tokenizer.json."""
        return self._text

    def encode_parts(self, batch: Sequence[Parts]) -> list[list[int]]:
        """The ids of each text with control tokens in it, as if the library had found them there:
        ("Hi", end_id, "\\n"). The text between them yields none."""
        return [self._known(ids) for ids in self._parts(batch)]

    @functools.cached_property
    def chat(self) -> "ChatTemplate | None":
        """How conversations are written, where tokenizer_config.json says so."""
        from ownlm.tokenization.chat import ChatTemplate, chosen

        found = chosen(self.settings)
        return None if found is None else ChatTemplate(found, self)

    def apply_chat(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> "Applied":
        """The ids of a conversation, and which of them a model learns; ConfigError without a
        chat template, DataError for a conversation that the template does not take."""
        return self.need_chat().apply(messages, tools)

    def need_chat(self) -> "ChatTemplate":
        """The chat template; ConfigError where there is none."""
        if self.chat is None:
            raise ConfigError(
                "the tokenizer has no chat template",
                where=SETTINGS_FILE,
                next_command="a model that was trained to chat has one; finetuning gives it one",
            )
        return self.chat

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, as `transformers` reads them."""
        files.write_text(folder / FILE, self._text)
        files.write_json(folder / SETTINGS_FILE, self.settings)

    def _run(self, texts: Sequence[str]) -> list[list[int]]:
        with refusals(texts):
            encodings = self._inner.encode_batch_fast(list(texts), add_special_tokens=False)
        return [self._known(encoding.ids) for encoding in encodings]

    def _known(self, ids: list[int]) -> list[int]:
        """Ids that merges only pass through as the unknown one."""
        if not self._passing:
            return ids
        unknown, size = self.unk_id, self.vocab_size
        assert unknown is not None, "checked when it was made"
        return [id if id < size else unknown for id in ids]

    @functools.cached_property
    def _parts(self) -> PartsEncoder:
        return PartsEncoder(self._spec, self.special)

    def _encode_windows(self, text: str) -> list[int]:
        """A long text piece by piece. The last words of a window saw its end instead of what
        follows, so they are left to the next one, which starts where they start."""
        ids, start = [], 0
        while len(text) - start > WINDOW:
            with refusals([text]):
                window = self._inner.encode(text[start : start + WINDOW], add_special_tokens=False)
            tokens, characters = _settled(window, WINDOW - 2 * WORD_LIMIT)
            ids += window.ids[:tokens]
            start += characters
        return ids + self._run([text[start:]])[0]

    def _set_roles(self) -> None:
        found = {role: self._role(role, names) for role, names in ROLES.items()}
        if found["eos"] is None:
            raise DataError(
                "no end-of-text token",
                where=SETTINGS_FILE,
                next_command="name one of the control tokens there as eos_token",
            )
        self.eos_id: int = found["eos"]
        self.bos_id: int | None = found["bos"]
        self.unk_id: int | None = found["unk"]
        self.pad_id: int | None = found["pad"] if found["pad"] != found["eos"] else None
        if self._passing and self.unk_id is None:
            raise DataError(f"{PASSING}: needs an unknown token", where=SETTINGS_FILE)

    def _role(self, role: str, names: Sequence[str]) -> int | None:
        named = self.settings.get(f"{role}_token")
        named = named.get("content") if isinstance(named, dict) else named
        candidates = [named] if isinstance(named, str) else names
        return next((self.special[name] for name in candidates if name in self.special), None)


def _passing_ids(settings: Mapping[str, Any], tokens: int) -> int:
    count = settings.get(PASSING, 0)
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count < tokens:
        raise DataError(f"{PASSING}: expected 0 to {tokens - 1}, found {count!r:.60}")
    return count


def _trimmed(text: str, begin: int, end: int) -> tuple[int, int]:
    """The same characters without white space before them."""
    while begin < end - 1 and text[begin].isspace():
        begin += 1
    return begin, end


def token_names(spec: Mapping[str, Any]) -> list[str]:
    """Tokens by id, of the model and added ones, from the values of a sound tokenizer.json."""
    vocab = spec["model"]["vocab"]
    by_id = (
        {id: token for token, id in vocab.items()}
        if isinstance(vocab, dict)
        else {id: token for id, (token, _) in enumerate(vocab)}
    )
    by_id |= {entry["id"]: entry["content"] for entry in spec.get("added_tokens") or []}
    return [by_id[id] for id in range(len(by_id))]


def _settled(window: "tokenizers.Encoding", limit: int) -> tuple[int, int]:
    """How many (tokens, characters) of a window come before the word at character `limit`."""
    token = window.char_to_token(limit)
    word = None if token is None else window.token_to_word(token)
    assert word is not None, "every character is in a word"
    tokens, characters = window.word_to_tokens(word), window.word_to_chars(word)
    assert tokens is not None and characters is not None
    return tokens[0], characters[0]
