"""Blocks of GGUF files: the numbers that ggml's own package gives, bit for bit."""

import numpy as np
import pytest

from ownlm.models.gguf_blocks import FORMATS, dequantise

gguf = pytest.importorskip("gguf")


def random_blocks(kind: int, count: int) -> np.ndarray:
    """Any bytes, but for scales that are NaN or infinite."""
    form = FORMATS[kind]
    data = np.random.default_rng(kind).integers(0, 256, (count, form.bytes), np.uint8)
    two, last = (0, 2), (208,)
    halves = {1: (0,), 2: (0,), 3: two, 6: (0,), 7: two, 8: (0,), 12: two, 13: two, 14: last}
    for place in halves.get(kind, ()):
        data[:, place + 1] &= 0xBB  # the exponent is never all ones
    if form.name in ("F32", "BF16"):
        data[:, form.bytes - 1] &= 0xBF
    return data


@pytest.mark.parametrize("kind", FORMATS, ids=[form.name for form in FORMATS.values()])
def test_equal_to_the_reference(kind: int) -> None:
    data = random_blocks(kind, 70)
    theirs = gguf.quants.dequantize(data.reshape(-1), gguf.GGMLQuantizationType(kind))
    ours = dequantise(data.reshape(-1), FORMATS[kind])
    assert ours.dtype == np.float32
    assert len(ours) == 70 * FORMATS[kind].numbers
    assert np.array_equal(ours, theirs.reshape(-1).astype(np.float32))


@pytest.mark.parametrize("kind", FORMATS, ids=[form.name for form in FORMATS.values()])
def test_sizes_are_the_reference_s(kind: int) -> None:
    numbers, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]
    assert (numbers, size) == (FORMATS[kind].numbers, FORMATS[kind].bytes)
    assert gguf.GGMLQuantizationType(kind).name == FORMATS[kind].name


def half(value: float) -> bytes:
    return np.float16(value).tobytes()


def test_q4_1_by_hand() -> None:
    """Byte 0x73: 3 is the first number, 7 the seventeenth; times 0.5, plus -1."""
    block = np.frombuffer(half(0.5) + half(-1) + bytes([0x73] + [0] * 15), np.uint8)
    numbers = dequantise(block, FORMATS[3])
    assert numbers[0] == 0.5 * 3 - 1
    assert numbers[16] == 0.5 * 7 - 1
    assert set(np.delete(numbers, [0, 16])) == {-1.0}


def test_q4_0_and_q8_0_by_hand() -> None:
    block = np.frombuffer(half(2) + bytes([0x0F] + [0x88] * 15), np.uint8)
    numbers = dequantise(block, FORMATS[2])
    assert (numbers[0], numbers[16], numbers[1]) == (2 * (15 - 8), 2 * (0 - 8), 0)
    block = np.frombuffer(half(0.25) + bytes([0x80, 0x7F] + [0] * 30), np.uint8)
    assert list(dequantise(block, FORMATS[8])[:3]) == [0.25 * -128, 0.25 * 127, 0]


def test_q4_k_by_hand() -> None:
    """Scale and minimum of the first eighth in bytes 4 and 8; of the fifth in the low and high
    half of byte 12, with their upper bits in bytes 4 and 8."""
    scales = [0b11_000101, 0, 0, 0, 0b10_000110, 0, 0, 0, 0x21, 0, 0, 0]
    numbers = [0x09] + [0] * 63 + [0x04] + [0] * 63
    block = np.frombuffer(half(1) + half(0.5) + bytes(scales + numbers), np.uint8)
    values = dequantise(block, FORMATS[12])
    assert values[0] == 5 * 9 - 0.5 * 6
    assert values[1] == -0.5 * 6
    assert values[128] == (0b11_0001) * 4 - 0.5 * 0b10_0010
    assert values[32] == 0


def test_q6_k_by_hand() -> None:
    """The first number: low bits 5, high bits 2, less 32; scale -3 of the first sixteenth."""
    block = bytearray(210)
    block[0], block[128], block[192] = 0x05, 0b10, 256 - 3
    block[208:] = half(0.5)
    values = dequantise(np.frombuffer(bytes(block), np.uint8), FORMATS[14])
    assert values[0] == 0.5 * -3 * ((2 << 4 | 5) - 32)
    assert values[1] == 0.5 * -3 * -32
    assert values[16] == 0


def test_many_blocks_go_through_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    data = random_blocks(2, 100).reshape(-1)
    whole = dequantise(data, FORMATS[2])
    monkeypatch.setattr("ownlm.models.gguf_blocks._AT_ONCE", 7)
    assert np.array_equal(dequantise(data, FORMATS[2]), whole)
