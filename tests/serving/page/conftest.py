import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # stand_in.py
sys.path.insert(0, str(Path(__file__).parents[2] / "inspection"))  # looked_at.py
pytest.importorskip("nicegui")

import httpx
from nicegui import Client, core, ui
from nicegui.testing import User
from nicegui.testing.general import nicegui_reset_globals, prepare_simulation
from stand_in import State

from ownlm.serving.page.mount import register

Opened = AbstractAsyncContextManager[User]
Browse = Callable[..., Opened]


@pytest.fixture
def browse() -> Browse:
    """A function that opens the pages of a state in a simulated browser."""

    @asynccontextmanager
    async def opened(
        state: State, runs: Path | None = None, **headers: str
    ) -> AsyncGenerator[User]:
        with nicegui_reset_globals():
            os.environ["NICEGUI_USER_SIMULATION"] = "true"
            try:
                prepare_simulation()
                register(state, runs)
                ui.run(show=False, reload=False)
                transport = httpx.ASGITransport(core.app)
                async with (
                    core.app.router.lifespan_context(core.app),
                    httpx.AsyncClient(
                        transport=transport, base_url="http://test", headers=headers
                    ) as client,
                ):
                    yield User(client)
            finally:
                os.environ.pop("NICEGUI_USER_SIMULATION", None)
                Client.page_routes.clear()  # else our modules would be imported anew

    return opened
