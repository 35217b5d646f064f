"""llama.cpp asked about a GGUF file, through the llama-cpp-python package where it is installed.

It runs in a process of its own: a build for another processor ends its process with an illegal
instruction, and a file that it does not like with an abort.
"""

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PACKAGE = "llama_cpp"
_SECONDS = 600
_PROGRAM = """
import json, sys
import numpy as np
from llama_cpp import Llama

asked = json.loads(sys.stdin.read())
ids, texts = asked["ids"], asked["texts"]
llm = Llama(asked["path"], n_ctx=max(len(ids), 8), n_batch=max(len(ids), 8), logits_all=True,
            n_gpu_layers=0, verbose=False)
llm.eval(ids)
np.save(asked["out"], np.array(llm.scores[: len(ids)], np.float32))
tokens = [llm.tokenize(text.encode(), add_bos=False, special=False) for text in texts]
print("\\n" + json.dumps(tokens))
"""


class Asked(NamedTuple):
    """What llama.cpp is to read."""

    ids: list[int]
    texts: list[str]


class Told(NamedTuple):
    """What it says: logits (T, V), and the tokens of each text."""

    logits: NDArray[np.float32]
    tokens: list[list[int]]


def ask_llama_cpp(path: Path, asked: Asked, python: str = "") -> Told | str:
    """Its answer, or why there is none. `python` is an interpreter that has the package."""
    if not python and importlib.util.find_spec(PACKAGE) is None:
        return "llama-cpp-python is not installed"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "logits.npy"
        job = {"path": str(path), "out": str(out), **asked._asdict()}
        done = subprocess.run(
            [python or sys.executable, "-c", _PROGRAM],
            input=json.dumps(job), capture_output=True, text=True, check=False, timeout=_SECONDS,
        )  # fmt: skip
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            return f"llama.cpp ended with {done.returncode}: {last:.200}"
        return Told(np.load(out), json.loads(done.stdout.splitlines()[-1]))
