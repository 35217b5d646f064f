"""A decoder that does a task by being told: in words, with some examples or none (Brown et al.
2020, arXiv:2005.14165, section 2).

Which of two texts is spam?            what the task is, once
Text: Win a boat                       k examples and their answers
Answer: spam
Text: See you at noon                  the record
Answer:                                the label that becomes likelier here than behind
                                       a text that says nothing, or what is written

With a chat template each example is a question of the user and an answer of the assistant.
"""

import copy
import math
import re
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ownlm.data.tasks.predictions import (
    Classified,
    Estimate,
    Extract,
    Prediction,
    Tagging,
    Writing,
)
from ownlm.data.tasks.records import Labelled, Parallel, Question, Record, Scored, Tagged
from ownlm.errors import ConfigError
from ownlm.inference.batch import batches
from ownlm.inference.config import WritingConfig
from ownlm.inference.language_model import LM
from ownlm.inference.reading import Ids, padded
from ownlm.nn.head import Output
from ownlm.tokenization.messages import Messages

TOLD = {
    "classify": "Which of these labels does the text have: {labels}? Answer with the label.",
    "pair": "Which of these labels do both texts have together: {labels}? Answer with it.",
    "regress": "Which number belongs to the text? Answer with the number.",
    "tag": "Tag each word of the text, as word/TAG. The tags are {labels}.",
    "span": "Answer the question with words of the text.",
    "seq2seq": "Write what belongs to the text.",
}
"""What each task is, in words."""
ANSWER = "Answer:"
NOTHING = ("N/A", "", "[MASK]")
"""Texts that speak for no label (Zhao et al. 2021, section 5)."""
LINES = 96
"""Tokens of an answer at most; of tags, more."""


class Prompted:
    """A task done by a language model that was not taught it."""

    def __init__(
        self,
        lm: LM,
        kind: str,
        labels: Sequence[str],
        examples: Sequence[Record] = (),
        told: str = "",
    ) -> None:
        """`examples` are shown with their answers; `told` says what the task is, in place of our
        own words. ConfigError for a task that cannot be told so."""
        if kind not in TOLD:
            raise ConfigError(
                f"{kind} cannot be done by prompting",
                where="task",
                next_command=f"choose among {', '.join(TOLD)}",
            )
        lm.require_writer()
        self.lm, self.kind, self.labels, self.examples = lm, kind, tuple(labels), list(examples)
        self.told = told or TOLD[kind].format(labels=", ".join(self.labels))

    def predict(self, records: Sequence[Record]) -> list[Prediction]:
        """One prediction a record, in order."""
        if self.kind in ("classify", "pair"):
            return self.likeliest(records)
        config = WritingConfig(max_tokens=LINES * (4 if self.kind == "tag" else 1))
        written = self.lm.write([self.prompt(record) for record in records], config)
        return [self.read(one, record) for one, record in zip(written, records, strict=True)]

    def prompt(self, record: Record) -> str | Messages:
        """What the model reads before it answers."""
        shown = [(question(one), answer(one)) for one in self.examples]
        if self.lm.tokenizer.chat is None:
            parts = [f"{asked}\n{ANSWER} {said}\n" for asked, said in shown]
            return "\n".join([self.told, "", *parts, f"{question(record)}\n{ANSWER}"])
        turns = [{"role": "system", "content": self.told}]
        for asked, said in shown:
            turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
        return [*turns, {"role": "user", "content": question(record)}]

    def likeliest(self, records: Sequence[Record]) -> list[Prediction]:
        """Of each record the label that gains most over what the model says of texts that say
        nothing, and shares among the labels: without that it prefers labels that are frequent or
        come last in the prompt, whatever the text (Zhao et al. 2021, arXiv:2102.09690, who divide
        by a mean of shares; this takes off a mean of their logarithms)."""
        scores_NC = self.scores([*records, *nothings(records[:1])])
        usual_C = scores_NC[len(records) :].mean(0)
        found = list[Prediction]()
        for shares in (scores_NC[: len(records)] - usual_C).softmax(-1).tolist():
            probabilities = dict(zip(self.labels, shares, strict=True))
            likely = max(probabilities, key=probabilities.__getitem__)
            found.append(Classified((likely,), probabilities))
        return found

    @torch.inference_mode()
    def scores(self, records: Sequence[Record]) -> Tensor:
        """(N, C): logarithms of the labels' shares behind the prompt of each record. Prompts of
        like length are read together, once for all labels; one that is too long loses its
        beginning."""
        labels, (longest, room) = self.said, self.sizes
        prompts = [self.lm.prompt_ids(self.prompt(record))[-room:] for record in records]
        found = torch.zeros(len(records), len(labels))
        twice = WritingConfig(max_tokens=longest, beams=2)  # each label reads on in a copy
        for numbers in batches([*map(len, prompts)], twice):
            logs_NC = self.behind([prompts[n] for n in numbers], labels)
            found[numbers] = logs_NC.log_softmax(-1).cpu()
        return found

    @property
    def said(self) -> list[list[int]]:
        """The tokens of each label; ConfigError for one without any."""
        space = "" if self.lm.tokenizer.chat is not None else " "
        found = [self.lm.tokenizer.encode(space + label) for label in self.labels]
        for label, ids in zip(self.labels, found, strict=True):
            if not ids:
                raise ConfigError(f"the label {label!r} has no tokens here", where="label")
        return found

    @property
    def sizes(self) -> tuple[int, int]:
        """Tokens of the longest label, and of a prompt before it; ConfigError where there is no
        room for any."""
        longest = max(map(len, self.said), default=1)
        room = self.lm.model.context - longest
        if room < 1:
            raise ConfigError(
                f"a label has {longest} tokens, the model sees {self.lm.model.context}",
                where="label",
                next_command="shorter labels, or a model that sees more",
            )
        return longest, room

    def behind(self, prompts: Sequence[Ids], labels: Sequence[Ids]) -> Tensor:
        """(N, C): the log-probability of each label's tokens behind each prompt. Logits are
        float32 whatever the model's format is: in bfloat16 they would lie so far apart that
        labels come out even."""
        writer, device = self.lm.writer, self.lm.model.device
        ids_NT, mask_NT = padded(prompts, device, left=True)
        seen = {} if bool(mask_NT.all()) else {"mask": mask_NT}
        seen |= {"prefix": mask_NT > 0} if self.lm.both_ways else {}
        cache = writer.new_cache(len(prompts), ids_NT.shape[1] + max(map(len, labels)))
        output = writer(ids_NT, cache=cache, **seen)
        bias = None if output.bias is None else output.bias.float()
        head = output._replace(weight=output.weight.float(), bias=bias)
        first_NV = self.logs(head, output.features[:, -1])
        columns = []
        for said in labels:
            column_N = first_NV[:, said[0]]
            if len(said) > 1:
                ids_NL = torch.tensor([said], device=device).expand(len(prompts), -1)
                features = writer(ids_NL[:, :-1], cache=copy.deepcopy(cache)).features
                logs_NLV = self.logs(head, features)
                column_N = column_N + logs_NLV.gather(2, ids_NL[:, 1:, None]).sum(dim=(1, 2))
            columns.append(column_N)
        return torch.stack(columns, dim=1)

    def logs(self, head: Output, features: Tensor) -> Tensor:
        """Log-probabilities over the ids that the tokenizer has."""
        logits = head._replace(features=features.float()).logits
        return logits[..., : self.lm.tokenizer.vocab_size].log_softmax(-1)

    def read(self, written: Writing, record: Record) -> Prediction:
        """What a written answer says; the first line of it."""
        text = written.text.strip().partition("\n")[0].strip()
        if isinstance(record, Scored):
            return Estimate(first_number(text, default=self.usual()))
        if isinstance(record, Question):
            start = record.context.lower().find(text.lower()) if text else -1
            return Extract(text, start)
        if isinstance(record, Tagged):
            return Tagging(tags_of(text, record.words, self.labels))
        return Writing(text, written.complete)

    def usual(self) -> float:
        """The mean of the examples' scores, for an answer without a number."""
        scores = [one.score for one in self.examples if isinstance(one, Scored)]
        return sum(scores) / len(scores) if scores else 0.0


def nothings(records: Sequence[Record]) -> list[Labelled]:
    """Records like these whose texts say nothing."""
    return [
        replace(record, text=text, pair=None if record.pair is None else text)
        for record in records
        if isinstance(record, Labelled)
        for text in NOTHING
    ]


def question(record: Record) -> str:
    """A record as it is asked about."""
    if isinstance(record, Question):
        return f"Text: {record.context}\nQuestion: {record.question}"
    if isinstance(record, Tagged):
        about = "" if record.predicate is None else f"\nVerb: {record.words[record.predicate]}"
        return f"Text: {' '.join(record.words)}{about}"
    if isinstance(record, Parallel):
        return f"Text: {record.source}"
    assert isinstance(record, Labelled | Scored)
    second = "" if record.pair is None else f"\nText: {record.pair}"
    return f"Text: {record.text}{second}"


def answer(record: Record) -> str:
    """What is right, as it is to be said."""
    if isinstance(record, Labelled):
        return ", ".join(record.labels)
    if isinstance(record, Scored):
        return f"{record.score:g}"
    if isinstance(record, Question):
        return record.answers[0].text if record.answers else "none"
    if isinstance(record, Tagged):
        return " ".join(f"{word}/{tag}" for word, tag in zip(record.words, record.tags))
    assert isinstance(record, Parallel)
    return record.target


def first_number(text: str, default: float) -> float:
    """The first number in a text.

    >>> first_number("about 3.5 of 5", 0.0)
    3.5
    """
    found = re.search(r"-?\d+(?:\.\d+)?", text)
    value = float(found.group()) if found else default
    return value if math.isfinite(value) else default


def tags_of(text: str, words: Sequence[str], labels: Sequence[str]) -> tuple[str, ...]:
    """The tag of each word in a text of word/TAG; the last label, or O, where none is given.

    >>> tags_of("Ada/B-person sailed/O", ["Ada", "sailed", "off"], ["B-person", "O"])
    ('B-person', 'O', 'O')
    """
    usual = "O" if "O" in labels else labels[-1]
    given = [piece.rpartition("/")[::2] for piece in text.split()]
    found, at = [], 0
    for word in words:
        tag = usual
        if at < len(given) and given[at][0] == word:
            tag, at = given[at][1] if given[at][1] in labels else usual, at + 1
        found.append(tag)
    return tuple(found)
