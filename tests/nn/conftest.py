"""The native kernels of training, built each way that this processor can run."""

import pytest

from ownlm import native
from ownlm.nn import fused, linear, lora

WAYS = {"own": fused.flags()}
if fused.instructions() == "AMX":  # then the dot products of AVX-512 too
    WAYS["no tiles"] = (*fused.WIDE, *fused.NO_TILES)


@pytest.fixture(params=WAYS)
def each_kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels as they are built here, then without the tiles of AMX; of layers too."""
    way = WAYS[request.param]
    if way is None or native.library(fused.SOURCE, way) is None:
        pytest.skip("no processor made for bf16, or no compiler that can build for it")
    monkeypatch.setattr(fused, "flags", lambda: way)
    monkeypatch.setattr(linear, "pays", linear.usable)
    monkeypatch.setattr(lora, "pays", linear.usable)
