import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # tiny.py, also used by the driver scripts


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny products gain nothing from threads, and sums do not depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
