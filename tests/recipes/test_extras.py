"""Without the extras everything still runs, with less to look at."""

import subprocess
import sys
from pathlib import Path

EXTRAS = (
    "matplotlib",
    "tensorboard",
    "pyarrow",
    "zstandard",
    "chardet",
    "py3langid",
    "transformers",
)

SCRIPT = """
import sys
for name in {extras}:
    sys.modules[name] = None  # what `import` meets is as if it were not installed
from ownlm.cli.main import main
sys.exit(main(sys.argv[1:]))
"""

TINY = (
    "--model.layers 1 --model.dim 32 --model.context 16 --train.batch 4 --train.steps 3 "
    "--tokenizer.kind byte"
).split()


def test_a_run_without_any_extra(text: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["pretrain", "llama-mini", "--data", str(text), "--out", str(run), *TINY]
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(extras=EXTRAS), *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "matplotlib is not installed" in (run / "report.html").read_text(encoding="utf-8")
    assert not (run / "tensorboard").exists()
    assert (run / "model" / "model.safetensors").is_file()
