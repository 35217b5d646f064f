"""`ownlm serve MODEL [MODEL ...]`: models behind OpenAI's interface, and pages for the
browser. Nothing leaves the machine."""

import importlib
import importlib.util
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ownlm.cli.options import parse
from ownlm.errors import ConfigError, OwnlmError
from ownlm.inference.config import EngineConfig
from ownlm.log import say
from ownlm.serving.config import ServeConfig

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ownlm.serving.served import Served
    from ownlm.serving.server import Server
    from ownlm.serving.state import State

KEY = "OWNLM_API_KEY"
"""Environment variable: keys with commas between them."""
NEEDED = ("fastapi", "uvicorn", "prometheus_client")


class ServeOptions(ServeConfig):
    """Serve models to OpenAI clients and to the browser."""

    model: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")] = ()
    """Model folder, run folder or GGUF file; NAME=PATH serves it under another name."""
    engine: EngineConfig = EngineConfig()
    """How many texts are written at once, and what they may take."""
    device: str = ""
    """cpu, cuda, mps; empty: the best there is."""
    dtype: str = ""
    """fp32, bf16, fp16; empty: fp32 on a CPU, the stored type elsewhere."""
    weights: Literal["auto", "float32", "bf16", "int8", "int4"] = "auto"
    """Numbers that a decoder computes with on a CPU: auto is int8 where that is faster, float32
    the model as it was trained."""
    runs: str = "runs"
    """Folder of runs whose curves the page shows, where there is one: with models or without."""
    no_page: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Serve programs only, no page for the browser."""


def run(args: list[str]) -> int:
    """The command; returns the exit code."""
    options = parse(ServeOptions, args, prog="ownlm serve", description=__doc__)
    require_packages()
    from ownlm.inference.find import find_model
    from ownlm.serving.app import make_app
    from ownlm.serving.served import named
    from ownlm.serving.server import Server, listen, require_key
    from ownlm.serving.state import State

    runs = Path(options.runs)
    if not options.model and not runs.is_dir():
        raise ConfigError("MODEL is missing: which model is to be served?")
    table = named(options.model)
    for path in table.values():
        find_model(path)
    state = State(options, keys=keys_of(os.environ.get(KEY, "")))
    require_key(options, state.keys)
    made = listen(options)
    app = make_app(state)
    page = not options.no_page and add_page(app, state, runs)
    server = Server(app, state, [made])
    failures: list[OwnlmError] = []

    if table:
        say(f"loading {', '.join(table)}")

    def load() -> None:
        from ownlm.serving.load import engines, load_served

        make = engines(options.engine, options.weights)
        models = load_served(table, make, options.device, options.dtype)
        state.ready(models)
        banner(models, server, page)

    begin(load, server, failures)
    code = server.serve_until_told()
    if failures:
        raise failures[0]
    return code


def begin(load: Callable[[], None], server: "Server", failures: list[OwnlmError]) -> None:
    """Load in a thread, while /health already answers; what fails ends the server."""

    def work() -> None:
        try:
            load()
        except OwnlmError as error:
            failures.append(error)
        finally:
            if server.state.phase != "ready":
                server.state.phase, server.should_exit = "failed", True

    threading.Thread(target=work, name="load", daemon=True).start()


def require_packages() -> None:
    """ConfigError where the extra is not installed."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"serving needs {', '.join(missing)}", next_command="pip install 'ownlm[serve]'"
        )


def keys_of(text: str) -> list[str]:
    """The keys in the environment."""
    return [key for key in (part.strip() for part in text.split(",")) if key]


def add_page(app: "FastAPI", state: "State", runs: Path) -> bool:
    """Put the pages for the browser beside the other addresses, where NiceGUI is installed; with
    that of a folder of runs, where there is one."""
    if importlib.util.find_spec("nicegui") is None:
        return False
    from ownlm.serving.page.mount import add_pages

    add_pages(app, state, runs if runs.is_dir() else None)
    return True


def banner(models: "dict[str, Served]", server: "Server", page: bool) -> None:
    """What is served, where, to whom, and a line to try."""
    from rich.table import Table

    from ownlm.log import console
    from ownlm.serving.server import address

    url, state = address(server.sockets[0]), server.state
    table = Table.grid(padding=(0, 2))
    for served in models.values():
        count = sum(one.numel() for one in served.lm.model.parameters())
        kind = "writes" if served.does == "generate" else served.does
        family = f"{served.lm.model.family.name}, {count:,} parameters, context {served.context}"
        table.add_row("model", served.name, f"{kind}: {family}; {served.about}")
    only = "none needed: only this machine can ask" if state.options.is_local else "none needed"
    table.add_row("key", "", f"needed ({len(state.keys)} known)" if state.keys else only)
    if page:
        table.add_row("page", "", f"{url}/")
    if not models:
        say(f"ownlm shows runs at {url}/runs\n\nCtrl-C ends it.")
        return
    say(f"ownlm serves at {url}/v1")
    console().print(table)
    say("\n" + example(next(iter(models.values())), url, bool(state.keys)) + "\n\nCtrl-C ends it.")


def example(served: "Served", url: str, key: bool) -> str:
    """A command that asks a model."""
    path, body = asked(served)
    text = json.dumps({"model": served.name} | body)
    bearer = f' -H "Authorization: Bearer ${KEY}"' if key else ""
    return f"curl {url}{path} -H 'Content-Type: application/json'{bearer} -d '{text}'"


def asked(served: "Served") -> tuple[str, dict[str, object]]:
    """An address and a body that suit what a model does."""
    kind = served.does
    if kind == "generate" and served.lm.tokenizer.chat is not None:
        return "/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}]}
    pair: dict[str, object] = {"text_1": "a boat", "text_2": "a ship"}
    question: dict[str, object] = {"question": "Who came?", "context": "A boat came."}
    text: dict[str, object] = {"input": "A boat came in."}
    plain: dict[str, object] = {"prompt": "Hello"}
    return {
        "generate": ("/v1/completions", plain | {"max_tokens": min(50, served.context // 2)}),
        "look": ("/tokenize", plain),
        "embed": ("/v1/embeddings", text),
        "regress": ("/score", pair),
        "span": ("/v1/answer", question),
        "tag": ("/v1/tag", text),
        "seq2seq": ("/v1/translate", text),
    }.get(kind, ("/classify", text))
