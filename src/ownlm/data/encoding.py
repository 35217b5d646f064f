"""Which kind of bytes a file holds, and what to tell the owner of text that is not UTF-8."""

from ownlm.data.faults import Bad

_SURE = 0.2
"""Of chardet's confidence: 0.3 to 0.6 for Chinese, Japanese, Russian, Greek; 0.1 where nothing
but some accents in western text tell one encoding from another."""

BOM = b"\xef\xbb\xbf"

MAGIC = {
    b"\x1f\x8b": "gzip data (name it .gz)",
    b"\x28\xb5\x2f\xfd": "zstd data (name it .zst)",
    b"BZh": "bzip2 data",
    b"\xfd7zXZ\x00": "xz data",
    b"PK\x03\x04": "a ZIP archive (also .docx, .xlsx, .epub)",
    b"PAR1": "parquet data (name it .parquet)",
    b"ARROW1": "Arrow data",
    b"%PDF-": "a PDF document",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"RIFF": "RIFF media",
    b"ID3": "MP3 audio",
    b"\x7fELF": "an ELF program",
    b"MZ\x90\x00": "a Windows program",
    b"SQLite format 3\x00": "an SQLite database",
    b"\x89HDF": "HDF5 data",
    b"\x93NUMPY": "a NumPy array",
    b"\x80\x04\x95": "a Python pickle",
}


def require_text(head: bytes) -> None:
    """Refuse what is certainly not UTF-8 text by its first bytes; Bad names the type."""
    for magic, name in MAGIC.items():
        if head.startswith(magic):
            raise Bad("not-text", f"not text but {name}", 0)
    wide = _wide_encoding(head)
    if wide:
        raise Bad("encoding", f"{wide} text; {_convert(wide)}", 0)


def explain(around: bytes, wrong: int, offset: int) -> Bad:
    """What to say about byte `wrong`, the first one at `offset` that is not UTF-8.

    `around` holds some bytes before and after it.
    """
    controls = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in around)
    if controls > len(around) // 20:
        return Bad(
            "not-text", f"binary data (byte 0x{wrong:02X}, control characters around)", offset
        )
    found = f"not UTF-8 (byte 0x{wrong:02X} at offset {offset:,})"
    return Bad("encoding", f"{found}, {_guess(around)}", offset)


def _wide_encoding(head: bytes) -> str:
    if head.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        return "UTF-32"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    # Without a mark: western text in UTF-16 has NUL in nearly every second byte and nowhere else.
    even, odd = head[0:4096:2], head[1:4096:2]
    for zeros, others, name in ((odd, even, "UTF-16LE"), (even, odd, "UTF-16BE")):
        if (
            len(zeros) > 4
            and zeros.count(0) > 0.8 * len(zeros)
            and others.count(0) * 20 < len(others)
        ):
            return name
    return ""


def _guess(around: bytes) -> str:
    """The likely encoding by chardet, with the command that converts it."""
    try:
        import chardet
    except ImportError:
        return "often Latin-1; to have it named: pip install 'ownlm[data]'"
    found = chardet.detect(around)
    name = found.get("encoding")
    if not name:
        return "of an unknown encoding"
    likely = "looks like" if found["confidence"] > _SURE else "hard to tell, perhaps"
    return f"{likely} {name}; {_convert(name)}"


def _convert(name: str) -> str:
    return f"convert it: iconv -f {name} -t UTF-8 FILE > NEW_FILE"
