"""One hash of all that a training decided: equal digests mean the same run, bit for bit."""

import hashlib
import json
from pathlib import Path

from safetensors import safe_open

from ownlm.log import read_rows
from ownlm.training import checkpoint


def run_digest(run: Path) -> str:
    """SHA-256 over a run's losses, order of samples, parameters, moments, rate and seed.

    Losses are those logged, as float.hex (log every step to compare every step); the order of
    samples is the chained digest up to the newest checkpoint; the random state is a function
    of the seed and the step. What clocks and places decide (speed, paths) is left out.
    """
    newest = checkpoint.checkpoints(run / "checkpoints")[-1]
    state = checkpoint.read_state(newest)
    rows = [row for row in read_rows(run / "log.jsonl") if "loss_hex" in row]
    facts = {
        "losses": [[row["step"], row["loss_hex"], row["samples_digest"]] for row in rows],
        "rates": [[row["step"], float(row["lr"]).hex()] for row in rows],
        "samples": state.samples_digest,
        "position": [state.step, state.sequences, state.tokens],
        "seed": state.seed,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    with safe_open(newest / checkpoint.TENSORS, framework="np") as file:
        for name in sorted(file.keys()):
            digest.update(name.encode())
            digest.update(file.get_tensor(name).tobytes())
    return digest.hexdigest()
