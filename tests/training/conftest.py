import os
import sys
from pathlib import Path

import pytest
import torch

for folder in Path(__file__).parents[:2]:  # tiny.py and power_loss.py, also for the driver script
    sys.path.insert(0, str(folder))


@pytest.fixture(autouse=True, scope="session")
def small_machine():
    """One thread, since tiny products gain nothing from more; TensorBoard's writer is another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch.utils.tensorboard", None)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch):
    """Half the time of a tiny run is the device's: the tests pull no real plug, so do not wait."""
    monkeypatch.setattr(os, "fsync", lambda file: None)
