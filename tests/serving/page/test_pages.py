"""Each page in a simulated browser: what it asks of a model and what it shows."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from looked_at import made
from nicegui import Client, ui
from nicegui.testing.general import nicegui_reset_globals
from person import EVIL, classed, seen, talker, until
from stand_in import Served, State

from ownlm.data.tasks.predictions import (
    Classified,
    Estimate,
    Extract,
    Prediction,
    Tagging,
    Vector,
    Writing,
)
from ownlm.data.tasks.records import Record
from ownlm.log import MetricsLog
from ownlm.recipes.samples import add_section
from ownlm.serving.page.mount import add_pages


class Doer(Served):
    """A model with answers that are known."""

    def __init__(self, kind: str, said: list[Prediction]) -> None:
        super().__init__("doer", made("gpt2"), writes=False)
        self.tuned = SimpleNamespace(kind=kind)  # type: ignore[assignment]
        self.said, self.records = said, list[Record]()

    async def predict(self, records: list[Record]) -> list[Prediction]:
        self.records = records
        return self.said[: len(records)]


def texts(user: Any) -> str:
    """All that is to be read on the page."""
    found = user.client.elements.values()
    return "\n".join(str(one._text) for one in found if getattr(one, "_text", None))


def press(user: Any, **fields: str) -> None:
    for field, text in fields.items():
        user.find(marker=f"field-{field.replace('_', '-')}").clear().type(text)
    user.find(marker="go").click()


def test_a_text_goes_on_and_branches_at_a_chosen_token(browse: Any) -> None:
    async def run() -> None:
        served = talker()
        assert served.service is not None
        async with browse(State(served)) as user:
            await user.open("/complete")
            user.find(marker="max_tokens").elements.pop().set_value(6)
            press(user, text="abc")
            await until(lambda: len(classed(user, "scored")) == 6)
            await seen(user, "Go on")
            first = served.service.asked[0]
            assert first.prompt == tuple(served.lm.prompt_ids("abc")) and first.logprobs == 10
            user.find(marker="token-3").click()
            await until(lambda: len(classed(user, "alternative")) >= 10)
            (marker,) = classed(user, "alternative")[1]._markers
            user.find(marker=marker).click()
            await until(lambda: len(served.service.asked) == 2)
            again = served.service.asked[1].prompt
            assert again[: len(first.prompt)] == first.prompt
            assert len(again) == len(first.prompt) + 4
            assert again[-1] == int(marker.removeprefix("alternative-"))

    asyncio.run(run())


def test_two_models_answer_at_once(browse: Any) -> None:
    async def run() -> None:
        left, right = talker(name="left"), Served("right", made("gpt2", context=400))
        async with browse(State(left, right)) as user:
            await user.open("/compare")
            user.find(marker="max_tokens").elements.pop().set_value(5)
            user.find(marker="field-say-something-…").type("abc")
            user.find(marker="ask-both").click()
            await until(lambda: len(classed(user, "markdown")) == 2)
            await until(lambda: texts(user).count("5 tokens · ") == 2)
            assert left.service is not None and right.service is not None
            assert right.service.asked[0].prompt == tuple(right.lm.prompt_ids("abc"))
            assert len(left.service.asked[0].prompt) > len(right.service.asked[0].prompt)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("kind", "fields", "said", "wanted"),
    [
        ("classify", {"text": "a b"}, Classified(("spam",), {"ham": 0.25, EVIL: 0.75}), ["75.0%"]),
        ("regress", {"text": "a", "second_text": "b"}, Estimate(3.456), ["3.46"]),
        ("tag", {"text": "Ada sailed off"}, Tagging(("B-person", "O", "O"), (0.9, 1.0, 1.0)),
         ["Ada", "person", "sailed off"]),
        ("tag", {"text": "Ada"}, Tagging(("O",)), ["No word has a tag"]),
        ("span", {"question": "who?", "text_that_holds_the_answer": "it was Ada."},
         Extract("Ada", 7, 1.0, 0.0), ["it was ", "Ada"]),
        ("span", {"question": "who?", "text_that_holds_the_answer": "it."}, Extract(""),
         ["holds no answer"]),
        ("seq2seq", {"text": "bonjour"}, Writing(EVIL, False), ["cut at the limit", EVIL]),
    ],
)  # fmt: skip
def test_a_task_and_its_answer(
    browse: Any, kind: str, fields: dict[str, str], said: Prediction, wanted: list[str]
) -> None:
    async def run() -> None:
        served = Doer(kind, [said])
        async with browse(State(served)) as user:
            await user.open("/tasks")
            press(user, **fields)
            await seen(user, "Result")
            assert len(served.records) == 1
            assert all(words in texts(user) for words in wanted)

    asyncio.run(run())


def test_texts_are_compared_by_their_vectors(browse: Any) -> None:
    async def run() -> None:
        vectors: list[Prediction] = [Vector((1.0, 0.0)), Vector((0.6, 0.8)), Vector((0.0, 1.0))]
        served = Doer("embed", vectors)
        async with browse(State(served)) as user:
            await user.open("/tasks")
            user.find(marker="field-texts,-one-a-line").type("just one")
            user.find(marker="go").click()
            await until(lambda: any("two texts" in one for one in user.notify.messages))
            user.find(marker="field-texts,-one-a-line").clear().type("a\n\nb\nc")
            user.find(marker="go").click()
            await seen(user, "0.800")
            assert [bar._text for bar in classed(user, "value")] == ["0.800", "0.600", "0.000"]

    asyncio.run(run())


@pytest.mark.parametrize(("family", "kinds"), [("bert", 1), ("llama", 1), ("t5", 3)])
def test_looking_inside(browse: Any, family: str, kinds: int) -> None:
    async def run() -> None:
        served = Served("model", made(family), writes=False)
        async with browse(State(served)) as user:
            await user.open("/inside")
            await until(lambda: len(classed(user, "head")) == 8)  # it looks at an example by itself
            first = classed(user, "head")[0]
            fields = {"what-is-written-(empty:-the-model-writes)": "whom"} if kinds == 3 else {}
            for field, text in fields.items():
                user.find(marker=f"field-{field}").type(text)
            press(user, text="who reads")
            await until(lambda: (drawn := classed(user, "head")) and drawn[0] is not first)
            user.find(marker="head-1-2").click()
            await seen(user, "Layer 2, head 3")
            assert len(classed(user, "chosen")) == 2
            (chart,) = classed(user, "heatmap")
            (series,) = chart._props["options"]["series"]
            sides = [len(chart._props["options"][axis]["data"]) for axis in ("yAxis", "xAxis")]
            assert len(series["data"]) == sides[0] * sides[1]
            for name, wanted in (("lens", "lens"), ("probabilities", "scored")):
                user.find(kind=ui.tabs).elements.pop().set_value(name)
                if wanted == "lens":
                    await until(lambda: any("class='lens'" in html_of(e) for e in all_of(user)))
                else:
                    await until(lambda: classed(user, "scored"))

    asyncio.run(run())


def drawn(user: Any) -> dict[str, Any]:
    """The options of the first chart."""
    found: dict[str, Any] = classed(user, "chart")[0]._props["options"]
    return found


def all_of(user: Any) -> list[Any]:
    return [*user.client.elements.values()]


def html_of(element: Any) -> str:
    return str(element._props.get("innerHTML", ""))


def test_runs_are_drawn_and_grow(browse: Any, tmp_path: Path) -> None:
    def row(step: int) -> dict[str, float]:
        return {"step": step, "loss": 9 - step / 9, "tokens": 10 * step, "tokens_per_second": 5.0}

    for name in ("a", "b"):
        with MetricsLog(tmp_path / name / "log.jsonl") as log:
            for step in range(1, 31):
                log.write(row(step))
        (tmp_path / name / "recipe.yaml").write_text(f"train: {{lr: 0.{len(name)}}}\nout: {name}\n")
    (tmp_path / "b" / "recipe.yaml").write_text(f"train: {{lr: '{EVIL}'}}\n")
    add_section(tmp_path / "a" / "samples.md", 10, EVIL)
    with MetricsLog(tmp_path / "a" / "resumes.jsonl") as log:
        log.write({"step": 10})

    async def run() -> None:
        async with browse(State(), tmp_path) as user:
            for wrong in ("../secret", "%2e%2e", "nothing"):
                await user.open(f"/runs?names={wrong}")
            await user.open("/runs?names=a,b")
            (chart,) = classed(user, "chart")
            series = chart._props["options"]["series"]
            assert [(one["name"], one["silent"]) for one in series] == [
                ("a", True), ("a", False), ("b", True), ("b", False)]  # fmt: skip
            assert series[1]["markLine"]["data"] == [{"xAxis": 10}]
            assert series[1]["data"][-1][0] == 30
            await seen(user, "train.lr")
            assert EVIL in texts(user)  # as text: of a setting and of a sample
            with MetricsLog(tmp_path / "a" / "log.jsonl") as log:
                log.write(row(31))
            await until(lambda: chart._props["options"]["series"][1]["data"][-1][0] == 31)
            user.find(marker="log_y").click()
            await until(lambda: drawn(user)["yAxis"]["type"] == "log")
            user.find(marker="run-b").click()
            await until(lambda: len(drawn(user)["series"]) == 2)

    asyncio.run(run())


def test_a_server_that_still_loads_says_so(browse: Any) -> None:
    async def run() -> None:
        state = State()
        state.phase = "loading"
        async with browse(state) as user:
            await user.open("/")
            await seen(user, "being loaded")
            state.phase = "ready"
            await user.open("/chat")
            await seen(user, "No model here can do this")

    asyncio.run(run())


def test_pages_stand_behind_the_servers_own_addresses(tmp_path: Path) -> None:
    async def run() -> tuple[httpx.Response, list[httpx.Response]]:
        app, state = FastAPI(), State(talker(name=EVIL))

        @app.get("/health")
        def health() -> dict[str, bool]:
            return {"ok": True}

        add_pages(app, state, tmp_path)
        assert {"/", "/chat", "/runs", "/_nicegui"} <= {*state.page_paths}
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://t") as client,
        ):
            wrong = await client.post("/chat/completions", json={})  # a base_url without /v1
            return wrong, [await client.get(path) for path in ("/health", "/chat", "/runs")]

    with nicegui_reset_globals():
        wrong, (health, *pages) = asyncio.run(run())
        Client.page_routes.clear()
    assert wrong.status_code == 404 and "/v1" in wrong.json()["error"]["message"]
    assert health.json() == {"ok": True} and "content-security-policy" not in health.headers
    for page in pages:
        assert page.status_code == 200
        number = page.headers["content-security-policy"].partition("nonce-")[2].partition("'")[0]
        assert page.text.count("<script") == page.text.count(f'<script nonce="{number}"') > 5
        assert "http://" not in page.text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in page.text
        assert "<img src=x" not in page.text
