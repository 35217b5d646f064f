"""A folder with an ONNX file against the model that it was made of, as onnxruntime opens it.

Two texts are read together, the shorter one padded behind, and each is compared with the model
reading it alone: so the file must honour its mask.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ownlm.evaluation.exported import (
    LIMITS,
    check_ends,
    check_logits,
    check_template,
    check_tokens,
    sample_ids,
)
from ownlm.evaluation.finding import Finding, at_most
from ownlm.inference.language_model import LM
from ownlm.models.onnx_write import FILE, IDS, MASK, TYPES, WRITTEN, Recorded, recorded
from ownlm.tokenization.load import load_tokenizer

SHORT = 5
"""Tokens of the shorter text."""
Numbers = NDArray[np.float32]
Inputs = dict[str, NDArray[np.int64]]


def check_onnx(lm: LM, folder: Path) -> list[Finding]:
    """What the file says of two texts, and the tokenizer beside it."""
    import onnxruntime

    made = recorded(lm.model)
    session = onnxruntime.InferenceSession(str(folder / FILE), providers=["CPUExecutionProvider"])
    ids = sample_ids(lm)
    texts = [ids, ids[-SHORT:]]
    (both,) = session.run([made.output], inputs_of(made, texts))
    alone = [expected(made, inputs_of(made, [text])) for text in texts]
    found = np.concatenate([row[: len(one)] for row, one in zip(both, alone, strict=True)])
    again = LM(lm.model, load_tokenizer(folder))
    return [
        *compared(made, found, np.concatenate(alone), f"texts of {len(ids)} and {SHORT} tokens"),
        check_tokens(lm, again),
        check_template(lm, again),
        check_ends(lm, again),
    ]


def inputs_of(made: Recorded, texts: list[list[int]]) -> Inputs:
    """All inputs that a model may have: types change in the middle of a text, and a decoder has
    written the beginning of what is read."""
    longest = max(map(len, texts))
    ids, mask, types = (np.zeros((len(texts), longest), np.int64) for _ in range(3))
    for row, text in enumerate(texts):
        ids[row, : len(text)], mask[row, : len(text)] = text, 1
        types[row, len(text) // 2 : len(text)] = 1
    written = np.array([text[:SHORT] for text in texts], np.int64)
    every = {IDS: ids, MASK: mask, TYPES: types, WRITTEN: written}
    return {name: every[name] for name in made.inputs}


@torch.no_grad()
def expected(made: Recorded, inputs: Inputs) -> Numbers:
    """What the model says of one text: a row for each of its tokens, or one of it as a whole."""
    given = [torch.from_numpy(inputs[name]) for name in made.inputs]
    found: Numbers = made(*given)[0].float().numpy()
    return found


def compared(made: Recorded, found: Numbers, right: Numbers, read: str) -> list[Finding]:
    """Logits as those of any export; a single number, or hidden states, by their distance."""
    found, right = (np.atleast_2d(x) for x in (found, right))
    if made.output == "logits" and right.shape[-1] > 1:
        return check_logits(found, right, "F32", read)
    name, limit = made.output.replace("_", " "), LIMITS["F32"]
    unit = f"largest difference / largest number, {read}"
    if found.shape != right.shape or not np.isfinite(found).all():
        return [Finding(name, None, limit, unit, False, "of other shape, or not finite")]
    apart = float(np.abs(found - right).max()) / (float(np.abs(right).max()) or 1.0)
    return [at_most(name, apart, limit, unit, "F32")]
