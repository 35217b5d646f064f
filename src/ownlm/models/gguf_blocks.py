"""The number formats of GGUF files, as ggml defines them: blocks of small integers and scales.

A block holds 32 numbers (Q4_0, Q8_0, ...) or 256 (the K formats, whose sixteenths or eighths have
scales of their own). Each function turns rows of raw bytes, a block a row, into float32; products
are formed in ggml's order, so that results are equal to its own bit for bit.

Shapes: N blocks, then numbers of a block.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
_AT_ONCE = 1 << 14  # blocks; bounds what is held beside the result


class Format(NamedTuple):
    """How numbers of one type are stored."""

    name: str
    numbers: int
    """In a block."""
    bytes: int
    """Of a block."""
    unpack: Callable[[Bytes], Floats]


def dequantise(data: Bytes, form: Format) -> Floats:
    """All numbers of a tensor's bytes, in float32."""
    blocks = data.reshape(-1, form.bytes)
    out = np.empty((len(blocks), form.numbers), np.float32)
    for begin in range(0, len(blocks), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        out[part] = form.unpack(blocks[part])
    return out.reshape(-1)


def _half(blocks: Bytes, place: int) -> Floats:
    """(N, 1): the float16 at a byte of each block."""
    return blocks[:, place : place + 2].copy().view(np.float16).astype(np.float32)


def _nibbles(packed: Bytes) -> Bytes:
    """(N, 2 x): the low halves of all bytes, then the high halves."""
    return np.concatenate([packed & 15, packed >> 4], axis=1)


def _f32(blocks: Bytes) -> Floats:
    return blocks.copy().view(np.float32)


def _f16(blocks: Bytes) -> Floats:
    return _half(blocks, 0)


def _bf16(blocks: Bytes) -> Floats:
    return (blocks.copy().view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def _q8_0(blocks: Bytes) -> Floats:
    return _half(blocks, 0) * blocks[:, 2:].view(np.int8).astype(np.float32)


def _q4_0(blocks: Bytes) -> Floats:
    return _half(blocks, 0) * (_nibbles(blocks[:, 2:]).astype(np.float32) - 8)


def _q4_1(blocks: Bytes) -> Floats:
    return _half(blocks, 0) * _nibbles(blocks[:, 4:]).astype(np.float32) + _half(blocks, 2)


def _fifth_bits(blocks: Bytes, place: int) -> Bytes:
    """(N, 32): bits of four bytes, as the fifth of each number."""
    bits = np.unpackbits(blocks[:, place : place + 4], axis=1, bitorder="little")
    return bits << np.uint8(4)


def _q5_0(blocks: Bytes) -> Floats:
    numbers = _nibbles(blocks[:, 6:]) | _fifth_bits(blocks, 2)
    return _half(blocks, 0) * (numbers.astype(np.float32) - 16)


def _q5_1(blocks: Bytes) -> Floats:
    numbers = _nibbles(blocks[:, 8:]) | _fifth_bits(blocks, 4)
    return _half(blocks, 0) * numbers.astype(np.float32) + _half(blocks, 2)


def _six_bits(packed: Bytes) -> tuple[Floats, Floats]:
    """(N, 8) scales and (N, 8) minima of Q4_K and Q5_K, packed in twelve bytes: six bits each,
    the last four of either with their upper two bits in the first bytes."""
    first, second, third = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = np.concatenate([first & 63, (third & 15) | (first >> 6) << 4], axis=1)
    minima = np.concatenate([second & 63, (third >> 4) | (second >> 6) << 4], axis=1)
    return scales.astype(np.float32), minima.astype(np.float32)


def _eighths(blocks: Bytes, numbers: Bytes) -> Floats:
    """Numbers (N, 8, 32) with the scales and minima at the start of each block."""
    scales, minima = _six_bits(blocks[:, 4:16])
    scales, minima = _half(blocks, 0) * scales, _half(blocks, 2) * minima
    return (scales[..., None] * numbers.astype(np.float32) - minima[..., None]).reshape(-1, 256)


def _pairs(packed: Bytes) -> Bytes:
    """(N, 8, 32): each 32 bytes hold an eighth in their low halves and one in their high ones."""
    packed = packed.reshape(-1, 4, 1, 32)
    return np.concatenate([packed & 15, packed >> 4], axis=2).reshape(-1, 8, 32)


def _q4_k(blocks: Bytes) -> Floats:
    return _eighths(blocks, _pairs(blocks[:, 16:]))


def _q5_k(blocks: Bytes) -> Floats:
    shifts = np.arange(8, dtype=np.uint8)[None, :, None]
    fifth = (blocks[:, None, 16:48] >> shifts & np.uint8(1)) << np.uint8(4)
    return _eighths(blocks, _pairs(blocks[:, 48:]) | fifth)


def _q6_k(blocks: Bytes) -> Floats:
    """Four low bits and two high ones; sixteen scales of eight bits."""
    low = blocks[:, :128].reshape(-1, 2, 1, 64)
    low = np.concatenate([low & 15, low >> 4], axis=2).reshape(-1, 2, 4, 32)
    shifts = np.array([0, 2, 4, 6], np.uint8)[None, None, :, None]
    high = (blocks[:, 128:192].reshape(-1, 2, 1, 32) >> shifts & np.uint8(3)) << np.uint8(4)
    numbers = (low | high).reshape(-1, 16, 16).astype(np.float32) - 32
    scales = blocks[:, 192:208].view(np.int8).astype(np.float32)
    return ((_half(blocks, 208) * scales)[..., None] * numbers).reshape(-1, 256)


FORMATS: dict[int, Format] = {
    0: Format("F32", 1, 4, _f32),
    1: Format("F16", 1, 2, _f16),
    30: Format("BF16", 1, 2, _bf16),
    2: Format("Q4_0", 32, 18, _q4_0),
    3: Format("Q4_1", 32, 20, _q4_1),
    6: Format("Q5_0", 32, 22, _q5_0),
    7: Format("Q5_1", 32, 24, _q5_1),
    8: Format("Q8_0", 32, 34, _q8_0),
    12: Format("Q4_K", 256, 144, _q4_k),
    13: Format("Q5_K", 256, 176, _q5_k),
    14: Format("Q6_K", 256, 210, _q6_k),
}
"""By ggml's number of the type."""
OTHERS = {
    4: "Q4_2", 5: "Q4_3", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 15: "Q8_K", 16: "IQ2_XXS",
    17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S",
    23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M",
    34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip
"""Types that cannot be read here, for messages."""
