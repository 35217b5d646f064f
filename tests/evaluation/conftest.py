import sys
from pathlib import Path

for folder in ("objectives", "objectives/tasks"):
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))  # examples.py, tiny.py
