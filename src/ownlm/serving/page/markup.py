"""Text that is not ours as safe markup: Markdown without HTML and pictures, and small pictures
that we paint ourselves."""

import base64
import functools
import struct
import zlib

import numpy as np
import numpy.typing as npt
from markdown_it import MarkdownIt

SIDE = 48
"""Pixels of a small picture at most, each way."""
INK = (47, 111, 222)


@functools.cache
def _markdown() -> MarkdownIt:
    """No HTML passes, no picture is fetched; links of `javascript:` and the like stay text."""
    made = MarkdownIt("commonmark", {"html": False, "breaks": True})
    return made.enable("table").disable("image")


def markdown(text: str) -> str:
    """Markdown as HTML; whatever HTML the text holds is shown, not run.

    >>> markdown("<b>*hi*</b>")
    '<p>&lt;b&gt;<em>hi</em>&lt;/b&gt;</p>\\n'
    """
    rendered: str = _markdown().render(text)
    return rendered


def heat_picture(weights_TS: npt.NDArray[np.float32]) -> str:
    """Weights from 0 to 1 as a PNG data address: the larger, the less transparent. What has more
    places than pixels shows the largest weight of each pixel."""
    shrunk = _shrunk(_shrunk(weights_TS, 0), 1)
    rows, columns = shrunk.shape
    pixels = np.empty((rows, columns, 4), np.uint8)
    pixels[..., :3] = INK
    pixels[..., 3] = (np.sqrt(np.clip(shrunk, 0, 1)) * 255).astype(np.uint8)
    lines = np.concatenate((np.zeros((rows, 1), np.uint8), pixels.reshape(rows, -1)), axis=1)
    head = struct.pack(">IIBBBBB", columns, rows, 8, 6, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)
    return "data:image/png;base64," + base64.b64encode(data).decode()


def _shrunk(x: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float32]:
    size = x.shape[axis]
    if size <= SIDE:
        return x
    starts = np.arange(SIDE) * size // SIDE
    found: npt.NDArray[np.float32] = np.maximum.reduceat(x, starts, axis=axis)
    return found


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)
