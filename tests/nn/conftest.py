"""The native kernels of training, built each way that this processor can run."""

import pytest

from ownlm import native
from ownlm.nn import fused, linear

NO_TILES = (*fused.WIDE, "-mno-amx-tile", "-mno-amx-bf16")
"""The dot products of AVX-512, on processors with AMX too."""


@pytest.fixture(params=[pytest.param(None, id="own"), pytest.param(NO_TILES, id="no tiles")])
def each_kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels as they are built here, then without the tiles of AMX."""
    if fused.kernel() is None:
        pytest.skip("no processor made for bf16, or no compiler here")
    monkeypatch.setattr(linear, "TILED", True)
    if request.param is not None:
        for module in (fused, linear):
            built = native.library(module.SOURCE, request.param)
            assert built is not None, native.why_not(module.SOURCE)
            monkeypatch.setattr(module, "kernel", lambda built=built: built)
