"""The pages in headless Chromium: used with mouse, keys and a phone; nothing that a model, a file
or a person says runs, nothing is asked of another host, and the console stays empty (U1)."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api")

from browser import CUT, PHONE, Site, Visit, at_most, chromium, expect, focused, serving
from on_disk import ATTACK, EVIL, row

from ownlm.log import MetricsLog

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
Go = Callable[..., Visit]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def visit(browser: Any, site: Site) -> Iterator[Go]:
    """A function that makes visits; at the end nothing may have gone wrong on any."""
    made: list[Visit] = []

    def start(**options: object) -> Visit:
        made.append(Visit(browser, site, **options))
        return made[-1]

    yield start
    assert [wrong for one in made for wrong in one.close()] == []


def say(page: Any, text: str) -> None:
    """A message; it is not taken while an answer is being written."""
    field = page.get_by_label("Say something …")
    field.fill(text)
    field.press("Enter")


def test_what_goes_wrong_is_noticed(visit: Go) -> None:
    """The control: a script without the page's number and a request to another host do not pass,
    and both are seen."""
    seen = visit()
    page = seen.open("chat")
    page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.b()';"
        " document.head.append(s) }"
    )
    page.evaluate("() => fetch('http://203.0.113.1/').catch(() => 0)")
    page.evaluate("() => window.b()")
    page.wait_for_timeout(200)
    wrong = "\n".join(seen.wrong)
    assert "script-src" in wrong and "connect-src" in wrong
    assert wrong.count("a stranger ran code") == 1, "the inline script ran"
    seen.wrong.clear()


def test_chat_another_answer_edit_and_branches(visit: Go) -> None:
    page = visit().open("chat")
    at_most(page, 40)
    answers, asked = page.locator(".turn.assistant .said"), page.locator(".turn.user .said")
    say(page, EVIL)
    expect(asked).to_have_text(EVIL)
    expect(answers).to_contain_text(ATTACK)
    expect(page.locator(".turn.assistant .who")).to_have_text(EVIL)  # the model's name
    page.get_by_role("button", name="Another answer").click()
    expect(page.locator(".count")).to_have_text("2/2")
    page.get_by_role("button", name="Earlier version").click()
    expect(page.locator(".count")).to_have_text("1/2")
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Edit").fill("tiger")
    page.keyboard.press("Enter")
    expect(asked).to_have_text("tiger")
    notes = page.locator(".turn.assistant .note")  # where an answer is done
    expect(notes).to_have_count(1)
    say(page, "more")
    expect(notes).to_have_count(2)
    page.get_by_role("button", name="New branch from here").nth(1).click()
    expect(page.locator(".turn")).to_have_count(2)
    say(page, "other")
    expect(asked.last).to_have_text("other")
    expect(notes).to_have_count(2)
    expect(page.locator(".turn.user .count").last).to_have_text("2/2")
    page.get_by_role("button", name="Earlier version").last.click()
    expect(asked.last).to_have_text("more")


def test_chat_stops_and_is_saved_and_opened(visit: Go) -> None:
    page = visit().open("chat")
    at_most(page, 8000)
    say(page, "tell")
    page.locator(".live").wait_for()
    page.keyboard.press("Escape")
    expect(page.locator(".turn.assistant .note")).to_contain_text("stopped")
    say(page, "again")
    page.locator(".live").wait_for()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".turn.assistant .note").last).to_contain_text("stopped")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save the chat").click()
    talk = json.loads(saved.value.path().read_text(encoding="utf-8"))
    assert [turn["role"] for turn in talk["messages"]] == ["user", "assistant"] * 2
    talk = {"messages": [{"role": "user", "content": EVIL}, {"role": "assistant", "content": EVIL}]}
    upload = {"name": f"{EVIL}.json", "mimeType": "application/json"}
    page.set_input_files("input[type=file]", upload | {"buffer": json.dumps(talk).encode()})
    expect(page.locator(".said")).to_have_text([EVIL, EVIL])
    page.set_input_files("input[type=file]", upload | {"buffer": EVIL.encode()})
    expect(page.locator(".q-notification")).to_contain_text("no JSON")
    page.get_by_role("button", name="What the model reads").click()
    expect(page.locator(".prompt .control")).to_have_count(5)
    page.keyboard.press("Escape")
    expect(page.locator(".prompt")).to_have_count(0)


def test_completions_show_probabilities_and_other_ways(visit: Go) -> None:
    page = visit().open("complete", EVIL)
    at_most(page, 16)
    page.get_by_label("Text").fill(EVIL)
    page.get_by_role("button", name="Go on").click()
    tokens = page.locator(".scored")
    expect(tokens).to_have_count(16)
    expect(page.locator(".given")).to_have_text(EVIL)
    assert "".join(tokens.all_inner_texts()) == ATTACK
    tokens.nth(3).hover()
    tip = tokens.nth(3).evaluate("token => getComputedStyle(token, '::after').content")
    assert tip.endswith('%"') and 99 < float(tip.strip('"%')) <= 100
    tokens.nth(3).click()
    other = page.locator(".alternative").nth(1)
    expect(other.locator(".name")).to_have_text("z")
    other.click()
    expect(tokens).to_have_count(4 + 16)
    assert "".join(tokens.all_inner_texts()) == ATTACK[:3] + "z" + ATTACK


def test_two_models_side_by_side(visit: Go) -> None:
    page = visit().open("compare")
    at_most(page, 40)
    say(page, EVIL)
    notes = page.locator(".turn.assistant .note")
    expect(notes).to_have_count(2)
    for number in range(2):
        expect(notes.nth(number)).to_contain_text("tokens/s")
    expect(page.locator(".turn.assistant .said").first).to_contain_text(ATTACK)
    expect(page.locator(".turn.user .said")).to_have_text([EVIL, EVIL])


def test_tasks_of_a_judge_and_of_a_plain_encoder(visit: Go) -> None:
    page = visit().open("tasks", "judge")
    page.get_by_label("Text").fill(EVIL)
    page.get_by_role("button", name="Go").click()
    expect(page.locator(".bar .name").filter(has_text=EVIL)).to_have_count(1)
    page = visit().open("tasks", "encoder")
    page.get_by_label("Text with gaps").fill("a [MASK] b <mask>")
    page.get_by_role("button", name="Go").click()
    expect(page.locator(".result h3")).to_have_text(["Gap 1", "Gap 2"])
    expect(page.locator(".result .bar")).to_have_count(16)
    page.get_by_role("button", name="Compare meanings").click()
    page.get_by_label("Texts, one a line").fill(f"{EVIL}\nb\nc")
    page.get_by_role("button", name="Go").click()
    expect(page.locator(".pairs .bar")).to_have_count(3)


@pytest.mark.parametrize(("model", "kinds"), [("encoder", 1), (EVIL, 1), ("pair", 3)])
def test_looking_inside(visit: Go, model: str, kinds: int) -> None:
    page = visit().open("inside", model)
    expect(page.locator(".head").first).to_be_visible()  # it looks by itself at an example
    page.get_by_label("Text", exact=True).fill("<b>cat")
    if kinds == 3:
        page.get_by_label("What is written").fill("dog")
    page.get_by_role("button", name="Look").click()
    tokens = page.locator(".reading .token:not(.control)")
    if kinds == 3:
        expect(page.locator(".q-btn-toggle button")).to_have_count(3)
        page.locator(".q-btn-toggle button").nth(0).click()
    expect(tokens).to_have_count(6)
    page.locator(".head").nth(2).click()
    expect(page.locator(".detail h2")).to_have_text("Layer 1, head 3")
    tokens.nth(1).click()
    expect(page.locator(".detail h3")).to_contain_text("“b”")
    shares = [float(share) for share in page.locator(".reads .value").all_inner_texts()]
    assert len(shares) > 1 and 0 < sum(shares) <= 1.001
    page.get_by_role("tab", name="Logit lens").click()
    expect(page.locator(".lens td").first).to_be_visible()
    page.get_by_role("tab", name="Token probabilities").click()
    page.locator(".scored").nth(1).click()
    expect(page.locator("aside .bar")).not_to_have_count(0)


def test_runs_are_drawn_and_grow(visit: Go, site: Site) -> None:
    page = visit().open("runs")
    expect(page.locator(".chart canvas").first).to_be_visible()
    expect(page.locator(".run.chosen .name")).to_have_count(2)
    expect(page.locator(".run .name").filter(has_text=EVIL)).to_have_count(1)
    expect(page.locator(".differences td").filter(has_text=EVIL)).to_have_count(1)
    expect(page.locator(".sample")).to_have_text([EVIL, EVIL])
    page.get_by_role("switch", name="Log y").click()
    with MetricsLog(site.runs / "steady" / "log.jsonl") as log:
        log.write(row(31))
    expect(page.locator(".run.chosen").filter(has_text="steady")).to_contain_text("31")
    page.locator(".run").filter(has_text=EVIL).click()
    expect(page.locator(".run.chosen .name")).to_have_text(["steady"])


def test_with_the_keyboard_alone(visit: Go) -> None:
    page = visit().open("complete", EVIL)
    found = list[str]()
    while "Go on" not in found and len(found) < 20:
        page.keyboard.press("Tab")
        found.append(focused(page))
        if found[-1] == "Text":
            page.keyboard.type("abc")
    ways = ["Chat", "Complete", "Compare", "Task", "Inside", "Runs"]
    tools = ["Model", "Settings", "Dark or light", "中文", "Text", "Go on"]
    assert found == ["Skip to the content", *ways, *tools]
    page.keyboard.press("Enter")
    tokens = page.locator(".scored")
    expect(tokens).to_have_count(100)
    page.keyboard.press("Tab")
    expect(tokens.nth(0)).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(tokens.nth(1)).to_be_focused()
    page.keyboard.press("Space")
    expect(page.locator(".alternative")).not_to_have_count(0)
    page.keyboard.press("Tab")
    expect(page.locator(".alternative").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".alternative")).to_have_count(0)


@pytest.mark.parametrize("language", ["en-US", "zh-CN"])
def test_every_page_fits_a_phone_in_the_dark(visit: Go, language: str) -> None:
    seen = visit(viewport=PHONE, locale=language, color_scheme="dark", has_touch=True)
    done = {"complete": ".scored", "tasks": ".result h2", "inside": ".head", "runs": "canvas"}
    for name, model in (
        ("chat", EVIL), ("complete", EVIL), ("compare", ""), ("tasks", "encoder"),
        ("tasks", "tagger"), ("inside", "pair"), ("runs", ""),
    ):  # fmt: skip
        page = seen.open(name, model)
        page.wait_for_function(f"document.documentElement.lang === '{language[:2]}'")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 19, 23)"
        spoken = page.locator(".ways a[aria-current]").inner_text()
        assert spoken.isascii() == (language == "en-US")
        if name in ("complete", "tasks"):
            if model == "tagger":
                page.locator("textarea").fill("Ada Lovelace met Charles Babbage in London in June.")
            page.locator("button.main").click()
        if name in done:
            page.locator(done[name]).first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name
        assert page.evaluate(CUT) == [], name
    page.evaluate(
        "() => { const wide = document.createElement('p'); wide.style.width = '500px';"
        " document.querySelector('main').append(wide) }"
    )
    assert page.evaluate(CUT) == [": "], "what stands beyond the edge is not noticed"
