"""A real browser on a real server: what it shows, and that nothing goes wrong meanwhile."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest
from on_disk import models, runs

playwright = pytest.importorskip("playwright.sync_api")

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 860}
SECONDS = 150
"""That anything may take on a busy machine."""
CUT = """() => [...document.querySelectorAll("main *")].filter(e =>
  e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".wide, .markdown pre, .echart")
).map(e => e.className + ": " + e.textContent.slice(0, 40))"""
"""What stands beyond the right edge, but for what scrolls by itself."""
HARM = "window.b = () => console.error('a stranger ran code')"
playwright.expect.set_options(timeout=1000 * SECONDS)
expect = playwright.expect


class Site(NamedTuple):
    """A server and the folder of its runs."""

    url: str
    runs: Path


@contextmanager
def serving(folder: Path) -> Iterator[Site]:
    """`ownlm serve` with tiny models, as people start it."""
    runs(folder / "runs")
    words = ["serve", *models(folder), "--runs", str(folder / "runs"), "--port", "0"]
    told = folder / "told"
    with told.open("w") as file:
        command = [sys.executable, "-m", "ownlm", *words, "--weights", "float32"]
        process = subprocess.Popen(command, stderr=file, stdout=file)
    try:
        while "Ctrl-C" not in (said := told.read_text(encoding="utf-8")):
            assert process.poll() is None, said
            threading.Event().wait(0.2)
        yield Site(said.partition("serves at ")[2].partition("/v1")[0], folder / "runs")
    finally:
        process.terminate()
        process.wait(SECONDS)


@contextmanager
def chromium() -> Iterator["playwright.Browser"]:
    """The browser of this machine; skips where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    with playwright.sync_playwright() as driver:
        found = [*filter(None, map(shutil.which, names)), driver.chromium.executable_path]
        if not Path(found[0]).exists():
            pytest.skip("no Chromium on this machine")
        browser = driver.chromium.launch(executable_path=found[0], args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """One page in a fresh browser, and all that went wrong on it."""

    def __init__(self, browser: "playwright.Browser", site: Site, **options: object) -> None:
        self.site, self.wrong = site, list[str]()
        chosen = {"viewport": DESK, "locale": "en-US"} | options
        self.context = browser.new_context(**chosen)
        self.context.add_init_script(HARM)
        self.page = page = self.context.new_page()
        page.set_default_timeout(1000 * SECONDS)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("request", lambda request: self._asked(request.url))
        page.on("websocket", lambda socket: self._asked(socket.url))

    def _console(self, message: "playwright.ConsoleMessage") -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"{message.type}: {message.text}")

    def _asked(self, url: str) -> None:
        """Every address is the server's own, or no address at all."""
        own = self.site.url, self.site.url.replace("http", "ws", 1), "data:", "blob:"
        if not url.startswith(own):
            self.wrong.append(f"asked of another host: {url}")

    def open(self, page: str, model: str = "") -> "playwright.Page":
        """A page, ready to be used; its policy is strict."""
        path = f"/{page}?model={quote(model, safe='')}" if model else f"/{page}"
        answer = self.page.goto(self.site.url + path)
        assert answer is not None and answer.status == 200
        policy = answer.headers["content-security-policy"]
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == rules["form-action"] == rules["base-uri"] == "'none'"
        assert rules["frame-ancestors"] == "'none'" and rules["connect-src"] == "'self'"
        assert "'unsafe-inline'" not in rules["script-src"] and "*" not in policy
        self.page.wait_for_function("window.did_handshake")
        self.page.wait_for_selector("main")
        return self.page

    def close(self) -> list[str]:
        """What went wrong."""
        self.context.close()
        return self.wrong


def at_most(page: "playwright.Page", tokens: int) -> None:
    """Set how much is written, in the drawer of settings."""
    page.get_by_role("button", name="Settings").click()
    field = page.get_by_label("Tokens at most")
    field.fill(str(tokens))
    field.press("Tab")
    page.keyboard.press("Escape")
    expect(field).not_to_be_visible()


def focused(page: "playwright.Page") -> str:
    """The name of what has the focus."""
    name = page.evaluate(
        "() => { const e = document.activeElement, text = e.cloneNode(true);"
        " for (const icon of text.querySelectorAll('[aria-hidden]')) icon.remove();"
        " return e.getAttribute('aria-label') || text.textContent || e.tagName }"
    )
    return str(name).strip()
