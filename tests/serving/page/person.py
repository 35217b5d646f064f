"""Doing things on a page as a person does, and waiting for what comes of it."""

import asyncio
from collections.abc import Callable
from typing import Any

from looked_at import made
from nicegui import ui
from nicegui.testing import User
from stand_in import Served

TEMPLATE = (
    "{% for m in messages %}<|begin|>{{ m['role'] }}:{{ m['content'] }}<sep>{% endfor %}"
    "{% if add_generation_prompt %}<|begin|>assistant:{% endif %}"
)
EVIL = "<img src=x onerror=alert(1)><script>alert(1)</script>"


def talker(pause: float = 0.0, name: str = "talker") -> Served:
    lm = made("llama", context=400)
    lm.tokenizer.settings["chat_template"] = TEMPLATE
    return Served(name, lm, pause=pause)


def classed(user: User, name: str) -> list[ui.element]:
    """Elements of a class, those made first first."""
    assert user.client is not None
    return [one for one in user.client.elements.values() if name in one._classes]


def turns(user: User) -> list[str]:
    return [one._classes[1] for one in classed(user, "turn")]


async def until(true: Callable[[], Any]) -> None:
    for _ in range(3_000):
        if true():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen")


async def open_chat(user: User, tokens: int = 12) -> None:
    await user.open("/chat")
    user.find(marker="max_tokens").elements.pop().set_value(tokens)


def say(user: User, text: str) -> None:
    user.find(marker="field-say-something-…").type(text)
    user.find(marker="send").click()


def done(user: User) -> bool:
    return bool(classed(user, "turn-tools")) and not classed(user, "live")


async def seen(user: User, text: str) -> None:
    """Wait until a text is there."""
    await until(lambda: user._sees(text, None, None, None))
