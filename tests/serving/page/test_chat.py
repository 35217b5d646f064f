"""A chat in a simulated browser: what is said, stopped, edited, and kept in branches."""

import asyncio
import json
from typing import Any

import pytest
from person import EVIL, classed, done, open_chat, say, seen, talker, turns, until
from stand_in import State

from ownlm.errors import DataError
from ownlm.serving.page.talk import Talk, open_talk


def test_an_answer_another_one_an_edit_and_the_way_back(browse: Any) -> None:
    async def run() -> None:
        served = talker()
        async with browse(State(served)) as user:
            await open_chat(user)
            await seen(user, "What shall we talk about?")
            say(user, "zebra")
            await until(lambda: done(user) and len(turns(user)) == 2)
            assert turns(user) == ["user", "assistant"]
            assert served.service is not None
            (asked,) = served.service.asked
            assert asked.prompt == tuple(
                served.lm.prompt_ids([{"role": "user", "content": "zebra"}])
            )
            assert asked.ends == frozenset(served.lm.turn_ids) and asked.max_tokens == 12
            user.find(marker="again").click()
            await until(lambda: done(user) and len(served.service.asked) == 2)
            assert served.service.asked[1].prompt == asked.prompt
            assert served.service.asked[1].sampling.seed != asked.sampling.seed
            await seen(user, "2/2")
            user.find(marker="earlier").click()
            await seen(user, "1/2")
            user.find(marker="edit").click()
            user.find(marker="field-edit").clear().type("tiger")
            user.find(marker="save").click()
            await until(lambda: done(user) and len(served.service.asked) == 3)
            await seen(user, "tiger")
            await user.should_not_see("zebra")
            user.find(marker="earlier").click()
            await seen(user, "zebra")

    asyncio.run(run())


def test_stop_ends_the_text_and_gives_the_request_up(browse: Any) -> None:
    async def run() -> None:
        served = talker(pause=0.01)
        async with browse(State(served)) as user:
            await open_chat(user, 300)
            say(user, "zebra")
            await until(lambda: classed(user, "live"))
            user.find(marker="send").click()
            await until(lambda: done(user))
            assert served.service is not None and served.service.left == 1
            await seen(user, "stopped")

    asyncio.run(run())


def test_a_system_prompt_is_read_and_a_wrong_setting_refused(browse: Any) -> None:
    async def run() -> None:
        served = talker()
        async with browse(State(served)) as user:
            await open_chat(user)
            user.find(marker="field-system-prompt").type("Be brief.")
            say(user, "zebra")
            await until(lambda: done(user) and len(turns(user)) == 2)
            assert served.service is not None
            text = served.lm.tokenizer.decode(served.service.asked[0].prompt, skip_special=False)
            assert text.startswith("<|begin|>system:Be brief.<sep><|begin|>user:zebra")
            user.find(marker="what-the-model-reads").click()
            await seen(user, "Control tokens are coloured")
            assert len(classed(user, "control")) == 7
            user.find(marker="top_p").elements.pop().set_value(7)
            say(user, "tiger")
            await until(lambda: any("top_p" in message for message in user.notify.messages))
            assert len(served.service.asked) == 1

    asyncio.run(run())


def test_what_is_said_is_text_and_never_html(browse: Any) -> None:
    async def run() -> None:
        served = talker(name=EVIL)
        async with browse(State(served)) as user:
            await open_chat(user)
            say(user, EVIL)
            await until(lambda: done(user) and len(turns(user)) == 2)
            for one in user.client.elements.values():  # type: ignore[union-attr]
                html = one._props.get("innerHTML", "")
                assert "<img" not in html and "<script" not in html
            page = (await user.http_client.get("/chat")).text
            assert "<img src=x" not in page and "<script>alert" not in page

    asyncio.run(run())


def test_chinese_where_the_browser_or_a_cookie_says_so(browse: Any) -> None:
    async def run() -> None:
        headers = {"accept-language": "zh-CN,zh;q=0.9"}
        async with browse(State(talker()), **headers) as user:
            await user.open("/chat")
            await seen(user, "聊点什么？")
            user.http_client.cookies.set("ownlm_language", "en")
            await user.open("/chat")
            await seen(user, "What shall we talk about?")

    asyncio.run(run())


def test_unknown_names_are_looked_up_and_nothing_else(browse: Any) -> None:
    async def run() -> None:
        async with browse(State(talker()), accept="text/html") as user:
            for name in ("..", "%2e%2e%2f", "%252e", "/etc/passwd", "a%00b"):
                answer = await user.http_client.get(f"/chat?model={name}")
                assert answer.status_code == 200 and "passwd" not in answer.text
            for path in ("/chat/..%2f", "/nothing", "/runs", "/%2e%2e/", "/chat%00"):
                assert (await user.http_client.get(path)).status_code == 404, path

    asyncio.run(run())


def test_branches_are_saved_and_opened_again() -> None:
    talk = Talk()
    first = talk.add(talk.root, "user", "a")
    talk.add(first, "assistant", "b")
    again = talk.add(first, "assistant", "c")
    talk.add(again, "user", "d")
    edited = talk.add(talk.root, "user", "e")
    talk.show(edited, 0)
    talk.show(talk.path[1], 0)
    assert [turn.text for turn in talk.path] == ["a", "b"]
    saved = talk.as_dict()
    assert saved["messages"] == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
    ]
    opened = open_talk(json.dumps(saved).encode())
    assert [turn.text for turn in opened.path] == ["a", "b"]
    assert {turn.text for turn in opened._turns()} == {"a", "b", "c", "d", "e"}
    assert [len(turn.versions) for turn in opened.path] == [2, 2]
    opened.leave(opened.path[0])
    assert [turn.text for turn in opened.path] == ["a"]
    opened.add(opened.last, "assistant", "f")
    assert [turn.text for turn in opened.path] == ["a", "f"] and opened.last.version == 2
    assert opened.messages(opened.last, " be kind ")[0]["role"] == "system"


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "an object"),
        (b"{}", "messages"),
        (b'{"messages": []}', "messages"),
        (b'{"messages": [{"role": "root", "content": ""}]}', "message 1: expected a role"),
        (b'{"messages": [{"role": "user", "content": [1]}]}', "a text"),
        (b'{"turns": [{"role": "user", "content": "", "before": 0}]}', "no earlier"),
        (b'{"turns": [{"role": "user", "content": "", "before": true}]}', "no earlier"),
        (b" " * ((4 << 20) + 1), "limit"),
    ],
)
def test_a_file_that_is_no_chat_is_refused(data: bytes, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        open_talk(data)
