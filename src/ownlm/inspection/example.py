"""One training example, token by token: what the model reads, what it learns, what sees what."""

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from ownlm.nn.mask import count_positions
from ownlm.objectives.objective import IGNORE, Batch
from ownlm.tokenization.tokenizer import Tokenizer

PREFIX, SECOND = "read both ways", "segment B"
"""Notes that hold for a run of tokens."""


@dataclass(frozen=True)
class Token:
    """One place of a row."""

    place: int
    position: int
    """Counted from the first token of its sequence; what the model is told."""
    sequence: int
    """Tokens of equal numbers see each other; 0 is padding."""
    text: str
    """What the model reads here."""
    learns: str | None
    """What it is to say here; None: nothing is learned."""
    control: bool
    judged: bool
    """Whether the model is to say of it if it was replaced (ELECTRA)."""
    note: str = ""
    """Segment, label of a pair, or step of a permutation."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def sides(batch: Batch, row: int, tokenizer: Tokenizer) -> dict[str, list[Token]]:
    """The row of a batch: {"reads": tokens}, of an encoder-decoder {"source": ..., "target": ...}.

    Whatever the objective made is shown as it is; nothing is computed again.
    """
    if "decoder_inputs" not in batch:
        return {"reads": _tokens(batch, row, "inputs", "mask", tokenizer, learned=True)}
    return {
        "source": _tokens(batch, row, "inputs", "mask", tokenizer, learned=False),
        "target": _tokens(batch, row, "decoder_inputs", "decoder_mask", tokenizer, learned=True),
    }


def _tokens(
    batch: Batch, row: int, inputs: str, mask: str, tokenizer: Tokenizer, *, learned: bool
) -> list[Token]:
    ids = batch[inputs][row]
    numbers = batch[mask][row].long() if mask in batch else ids * 0 + 1
    positions = count_positions(numbers[None])[0].tolist()
    targets = _targets(batch, row) if learned else ids * 0 + IGNORE
    controls = set(tokenizer.special.values())
    return [
        Token(
            place=place,
            position=positions[place],
            sequence=int(numbers[place]),
            text=tokenizer.readable(id),
            learns=None if target == IGNORE else tokenizer.readable(target),
            control=id in controls,
            judged="chances" in batch and numbers[place].item() > 0,
            note=_note(batch, row, place) if learned else "",
        )
        for place, (id, target) in enumerate(zip(ids.tolist(), targets.tolist(), strict=True))
    ]


def _targets(batch: Batch, row: int) -> Tensor:
    """What is learned at each place; of a permutation, the tokens that are predicted."""
    if "targets" in batch:
        return batch["targets"][row]
    ids, steps = batch["inputs"][row], batch["steps"][row]
    return ids.masked_fill(steps < 0, IGNORE)


def _note(batch: Batch, row: int, place: int) -> str:
    notes = []
    if "pair_labels" in batch and (label := int(batch["pair_labels"][row, place])) != IGNORE:
        notes.append("pair: follows" if label == 0 else "pair: does not follow")
    if "tasks" in batch and place == 0:
        notes.append(f"task {int(batch['tasks'][row, 0])}")
    if "steps" in batch and (step := int(batch["steps"][row, place])) >= 0:
        notes.append(f"step {step}")
    if "prefix" in batch and int(batch["prefix"][row, place]):
        notes.append(PREFIX)
    if "types" in batch and int(batch["types"][row, place]):
        notes.append(SECOND)
    return ", ".join(notes)
