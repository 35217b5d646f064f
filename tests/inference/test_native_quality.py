"""What few bits cost a real model, in bits per byte of English."""

import math
import os
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from ownlm.inference import native_runner
from ownlm.inference.language_model import load
from ownlm.inference.native_runner import NativeRunner
from ownlm.inference.native_weights import KINDS
from ownlm.inference.runner import Work

WINDOW, TOKENS = 256, 2048


@pytest.mark.slow
@pytest.mark.skipif(native_runner.library() is None, reason="no native code here")
def test_8_bits_cost_half_a_per_cent_at_most(shared_data: Path) -> None:
    """OWNLM_SMOLLM2_GGUF names SmolLM2-135M-Instruct."""
    file = Path(os.environ.get("OWNLM_SMOLLM2_GGUF", "missing"))
    if not file.exists():
        pytest.skip("OWNLM_SMOLLM2_GGUF names no file")
    lm = load(file)
    text = (shared_data / "text" / "the-verdict.txt").read_text(encoding="utf-8")
    ids = lm.tokenizer.encode(text)[:TOKENS]
    size = len(lm.tokenizer.decode(ids).encode())
    bits = {}
    for kind in KINDS:
        runner = NativeRunner(lm.model, kind)
        runner.reserve(WINDOW // 16, 16)
        nats = 0.0
        for begin in range(0, len(ids) - 1, WINDOW):
            window = ids[begin : begin + WINDOW + 1]
            logits = runner.read([Work(window[:-1], 0, range(WINDOW // 16), every=True)])
            nats += F.cross_entropy(logits, torch.tensor(window[1:]), reduction="sum").item()
        bits[kind] = nats / math.log(2) / size
    print(bits)
    assert bits["bf16"] < 1.5
    assert bits["int8"] < bits["bf16"] * 1.005
    assert bits["bf16"] * 1.005 < bits["int4"] < bits["bf16"] * 1.15
