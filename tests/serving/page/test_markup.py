"""Nothing that a model, a file or a person says can run, fetch, or pass for something else."""

import asyncio
import re
import struct
import zlib
from base64 import b64decode
from typing import Any

import httpx
import numpy as np
import pytest
from person import EVIL
from starlette.types import Receive, Scope, Send

from ownlm.inspection.given import Piece
from ownlm.inspection.lens import Guess, Lens
from ownlm.serving.page.lens import table
from ownlm.serving.page.markup import SIDE, heat_picture, markdown
from ownlm.serving.page.policy import Policy
from ownlm.serving.page.tokens import shown
from ownlm.serving.page.words import LANGUAGES, WORDS, Words
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.train import train_tokenizer

ATTACKS = [
    EVIL,
    "<svg/onload=alert(1)>",
    "[a](javascript:alert(1))",
    "[a](JaVaScRiPt&#58;alert(1))",
    "[a](data:text/html,<script>alert(1)</script>)",
    "[a](vbscript:x)",
    "![a](http://evil.example/x.png)",
    "![a][b]\n\n[b]: http://evil.example/x.png",
    "<iframe src=//evil.example></iframe>",
    "```html\n<script>alert(1)</script>\n```",
    "`<img src=x onerror=alert(1)>`",
    '<a href="#" onclick="alert(1)">x</a>',
    "| <b>a</b> |\n|-|\n| <script>x</script> |",
    "[a](x' onmouseover='alert(1))",
    '[a](<x" onmouseover="alert(1)>)',
    "<style>@import url(http://evil.example)</style>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
]


@pytest.mark.parametrize("text", ATTACKS)
def test_markdown_of_strangers_holds_no_html(text: str) -> None:
    html = markdown(text)
    allowed = "p|em|strong|a|code|pre|ul|ol|li|h[1-6]|blockquote|br|hr|table|thead|tbody|tr|th|td"
    for tag in re.findall(r"<[^>]*>", html):
        assert re.fullmatch(rf"</?({allowed})( (href|title|class|style)=\"[^\"<>]*\")* ?/?>", tag)
    links = re.findall(r'href="([^"]*)"', html)
    assert not any(re.match(r"(javascript|data|vbscript):", link, re.I) for link in links)


def test_markdown_of_a_model_is_drawn() -> None:
    html = markdown("# T\n\n**b** `c`\n\n1. x\n\n| a |\n|---|\n| 1 |\n\n[l](https://a.b)")
    for tag in ("<h1>", "<strong>", "<code>", "<ol>", "<table>", 'href="https://a.b"'):
        assert tag in html


def test_the_lens_shows_tokens_as_text() -> None:
    evil = Piece(1, EVIL + "'\"", False)
    lens = Lens(0, [evil], [[[Guess(evil, 0.5)]], [[Guess(evil, 0.25)]]])
    html = table(lens, EVIL, Words("en"))
    assert "<img" not in html and "<script" not in html
    tips = re.findall(r'data-tip="([^"]*)"', html)
    assert len(tips) == 2 and all("&lt;img" in tip for tip in tips)


def test_a_picture_is_a_png_of_the_weights() -> None:
    weights = np.zeros((100, 3), np.float32)
    weights[99, 2], weights[0, 0] = 1.0, 0.25
    data = b64decode(heat_picture(weights).removeprefix("data:image/png;base64,"))
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    assert (width, height) == (3, SIDE)
    size = struct.unpack(">I", data[33:37])[0]
    lines = np.frombuffer(zlib.decompress(data[41 : 41 + size]), np.uint8).reshape(SIDE, -1)
    alpha = lines[:, 1:].reshape(SIDE, 3, 4)[..., 3]
    assert alpha[-1, 2] == 255 and alpha[0, 0] == 127 and (alpha > 0).sum() == 2


def test_scripts_of_a_page_bear_the_number_of_its_policy() -> None:
    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        kind = b"text/html" if scope["path"] == "/" else b"application/json"
        headers = [(b"content-type", kind), (b"content-length", b"47")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send(
            {"type": "http.response.body", "body": b"<html><script>1</scr", "more_body": True}
        )
        await send({"type": "http.response.body", "body": b"ipt><script src=a></script>"})

    async def run() -> list[httpx.Response]:
        transport = httpx.ASGITransport(Policy(page))
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            return [await client.get(path) for path in ("/", "/", "/json")]

    first, second, other = asyncio.run(run())
    numbers = []
    for answer in (first, second):
        policy = answer.headers["content-security-policy"]
        (number,) = re.findall(r"'nonce-([^']+)'", policy)
        assert answer.text.count(f'<script nonce="{number}"') == 2
        assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
        assert int(answer.headers["content-length"]) == len(answer.content)
        numbers.append(number)
    assert numbers[0] != numbers[1]
    assert "nonce" not in other.text and other.headers["x-frame-options"] == "DENY"


def test_both_languages_have_all_words_and_places() -> None:
    for key, said in WORDS.items():
        assert len(said) == len(LANGUAGES) and all(said), key
        places = [set(re.findall(r"{(\w+)", words)) for words in said]
        assert places[0] == places[1], key


def test_tokens_show_the_characters_they_complete() -> None:
    tokenizer = train_tokenizer(["x"], TokenizerConfig(kind="byte", controls=("<sep>",)))
    ids: list[Any] = [*tokenizer.encode("aé<sep>"), tokenizer.special["<sep>"]]
    found = shown(tokenizer, ids)
    assert [piece.text for piece in found] == ["a", "▪", "é", "<", "s", "e", "p", ">", "<sep>"]
    assert [piece.control for piece in found] == [False] * 8 + [True]
