"""Objectives of encoder-decoders on plain text: the encoder reads it damaged, the decoder mends it.

Span corruption (T5, Raffel et al. 2020, arXiv:1910.10683, section 3.1.4):
    text     thank you for inviting me to your party last week
    source   thank you <X> me to your party <Y> week </s>
    target   <X> for inviting <Y> last </s>
Infilling and sentence permutation (BART, Lewis et al. 2020, arXiv:1910.13461, section 2.2):
    text     One. Two three four. Five.
    source   <s> Five. One. Two [MASK] four. </s>
    target   <s> One. Two three four. Five. </s>
"""

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np

from ownlm.objectives.objective import Stream
from ownlm.objectives.rows import Filler, Ids, Row, Window
from ownlm.objectives.two_sided import Exchange, TwoSided, both
from ownlm.objectives.vocabulary import Vocabulary


class Denoise(TwoSided):
    """Source and target are made from one document."""

    @abstractmethod
    def exchange(self, text: Ids, rng: np.random.Generator) -> Exchange:
        """Source and target of a document."""

    def window(self, context: int) -> int:
        """Tokens of text whose source, or whose target where that is longer (most of the text is
        hidden), fills `context` tokens."""
        context = max(3, context - len(self.lead))
        tokens = context - 1  # neither side is more than one token longer than the text
        while max(self.lengths(tokens + 1)) <= context:
            tokens += 1
        return tokens

    def begins(self, stream: Stream, length: int) -> Ids | None:
        """Anywhere."""
        return None

    def row(self, window: Window) -> Row:
        """One row of each side."""
        read, write = self.lengths(len(window.tokens) - 1)
        source, target = Filler(read + len(self.lead), self.pad), Filler(write, self.pad)
        for text in self.texts(window):
            size = len(text)
            while size and not self.fits(size, source.room, target.room):
                size -= 1
            if size < min(2, len(text)):
                break
            made = self.exchange(text[:size], window.rng)
            source.add(inputs=np.concatenate([self.lead, made.source]))
            inputs = np.append(self.start, made.target[:-1])
            target.add(inputs=inputs, targets=made.target)
        return both(source, target)

    def fits(self, size: int, source: int, target: int) -> bool:
        """Whether a document of `size` tokens fits in what is left of both rows."""
        read, write = self.lengths(size)
        return read + len(self.lead) <= source and write <= target

    def texts(self, window: Window) -> Iterator[Ids]:
        """The documents of a window, without control tokens."""
        for piece in window.pieces():
            text = piece[:-1] if piece is window.tokens else piece
            if len(text := text[~self.vocab.is_control[text]]):
                yield text


class Spans(Denoise):
    """T5's span corruption."""

    def __init__(
        self, vocab: Vocabulary, start: int, *, rate: float = 0.15, mean: float = 3.0
    ) -> None:
        """`rate` of the tokens goes, in spans of `mean` tokens. The tokenizer must have
        <extra_id_0>, <extra_id_1>, ..."""
        super().__init__(vocab, start)
        if not vocab.sentinels:
            vocab.name("<extra_id_0>")
        self.rate, self.mean = rate, mean

    def parts(self, tokens: int) -> tuple[int, int]:
        """(noise tokens, spans) of a text, as `random_spans_noise_mask` counts them."""
        noise = min(max(round(tokens * self.rate), 1), max(tokens - 1, 1))
        spans = min(max(round(noise / self.mean), 1), max(tokens - noise, 1))
        return noise, min(spans, len(self.vocab.sentinels))

    def lengths(self, tokens: int) -> tuple[int, int]:
        """Lengths of source and target, the end of text included."""
        noise, spans = self.parts(tokens)
        return tokens - noise + spans + 1, noise + spans + 1

    def exchange(self, text: Ids, rng: np.random.Generator) -> Exchange:
        """Spans of noise and of text alternate, text first; both kinds of random lengths."""
        noise, spans = self.parts(len(text))
        gaps = divided(len(text) - noise, spans, rng)
        lost = divided(noise, spans, rng)
        source, target, at = list[Ids](), list[Ids](), 0
        for sentinel, kept, gone in zip(self.vocab.sentinels, gaps, lost, strict=False):
            source += [text[at : at + kept], np.array([sentinel])]
            target += [np.array([sentinel]), text[at + kept : at + kept + gone]]
            at += kept + gone
        end = np.array([self.end])
        return Exchange(np.concatenate([*source, end]), np.concatenate([*target, end]))


class Infilling(Denoise):
    """BART's noise: sentences change places, spans become one mask each."""

    def __init__(
        self, vocab: Vocabulary, start: int, *, rate: float = 0.3, mean: float = 3.0
    ) -> None:
        """`rate` of the tokens goes, in spans whose lengths are Poisson with `mean`."""
        super().__init__(vocab, start)
        self.begin, self.mask = vocab.need("begin"), vocab.need("mask")
        self.rate, self.mean = rate, mean

    def lengths(self, tokens: int) -> tuple[int, int]:
        """Lengths of source and target at most; both hold the text's begin and end."""
        return tokens + 2, tokens + 2

    def window(self, context: int) -> int:
        """The text and its two marks fill the context."""
        return max(1, context - 2 - len(self.lead))

    def exchange(self, text: Ids, rng: np.random.Generator) -> Exchange:
        """The source has at most as many tokens as the target."""
        source = self.infilled(self.permuted(text, rng), rng)[: len(text)]
        marked = [np.concatenate([[self.begin], ids, [self.end]]) for ids in (source, text)]
        return Exchange(*marked)

    def permuted(self, text: Ids, rng: np.random.Generator) -> Ids:
        """The sentences in a new order."""
        ends = np.flatnonzero(self.vocab.ends_sentence[text[:-1]]) + 1
        sentences = np.split(text, ends)
        return np.concatenate([sentences[i] for i in rng.permutation(len(sentences))])

    def infilled(self, text: Ids, rng: np.random.Generator) -> Ids:
        """Spans replaced until `rate` of the tokens is gone; one of no tokens adds a mask."""
        budget, free = round(self.rate * len(text)), np.ones(len(text), np.bool_)
        mask_before = np.zeros(len(text) + 1, np.bool_)
        for _ in range(4 * len(text)):  # spans that would overlap are drawn again
            if budget <= 0:
                break
            size = min(int(rng.poisson(self.mean)), budget)
            start = int(rng.integers(0, len(text) - size + 1))
            low, high = max(0, start - 1), min(len(text), start + size + 1)
            if not free[low:high].all() or mask_before[low:high].any():
                continue
            free[start : start + size] = False
            mask_before[start], budget = True, budget - max(size, 1)
        return self.replaced(text, free, mask_before)

    def replaced(self, text: Ids, free: Ids | np.ndarray, mask_before: np.ndarray) -> Ids:
        """The text that is left, with a mask at each marked place."""
        tokens = np.append(np.where(free, text, -1), -1)
        both = np.stack([np.where(mask_before, self.mask, -1), tokens], axis=1).ravel()
        return both[both >= 0]


def divided(items: int, parts: int, rng: np.random.Generator) -> Ids:
    """`items` divided at random into `parts` of at least one each: (parts,)."""
    if items < parts:
        return np.array([1] * items + [0] * (parts - items))
    borders = np.sort(rng.choice(items - 1, parts - 1, replace=False)) + 1
    return np.diff(np.concatenate([[0], borders, [items]]))
