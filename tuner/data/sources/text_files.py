"""Text files as people have them: of any encoding, with a byte order mark, compressed."""

import codecs
import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from tuner.data import raw
from tuner.errors import DataError
from tuner.files import shown
from tuner.study_file.messages import quoted

GZIP = b"\x1f\x8b"
EXPANSION = 100  # times its size that a compressed file may take; text takes 3 to 20
FLOOR = 256 << 20  # bytes that each may take
BLOCK = 1 << 20  # bytes read at a time

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SAMPLE = 16_384  # bytes of which an encoding is guessed
# guesses that stand for a script of their own; those of Latin letters are too alike to be told
_TELLING = (
    *("cp1251", "koi8_r", "koi8_u", "cp866", "mac_cyrillic", "cp1253", "cp1255", "cp1256"),
    *("cp932", "shift_jis", "euc_jp", "gb18030", "gbk", "big5", "cp949", "euc_kr", "johab"),
)


def read(path: Path, encoding: str | None) -> tuple[str, list[str]]:
    """A file's text, and notes on how it was read.

    Without `encoding` it is UTF-8, or UTF-16 where a byte order mark says so. DataError if it is
    something else, damaged, empty, no text, or expands beyond all measure.
    """
    where = shown(path)
    content = expanded(path) if path.suffix.lower() == ".gz" else raw.contents(path)
    notes = []
    if encoding is None and content[:2] in _UTF_16:
        encoding = "utf-16"
        notes.append("the file was read as UTF-16, as its byte order mark says")
    elif encoding is not None and _is_utf_8(content):
        notes.append(f"the file is valid UTF-8, but was read as {encoding}, as `encoding` says")
    text = decoded(content, where, encoding)
    if not text or text.isspace():
        raise DataError(f"{where}: is empty")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        hint = _wide(content) or "is this a text file?"
        raise DataError(f"{where}, line {line}: holds a NUL character; {hint}")
    return text, notes


def expanded(path: Path) -> bytearray:
    """The content of a file that is compressed with gzip."""
    content = bytearray()
    with raw.opened(path) as packed, raw.reading(path):
        if not packed.peek(1):
            raise DataError(f"{shown(path)}: is empty")
        for block in unpacked(path, packed, lambda file: file.read(BLOCK)):
            content += block
    return content


def unpacked(
    path: Path, packed: io.BufferedReader, take: Callable[[gzip.GzipFile], bytes]
) -> Iterator[bytes]:
    """What `take` reads of a compressed file, until it reads nothing.

    DataError if the file is damaged or expands beyond all measure.
    """
    total, most = 0, max(FLOOR, EXPANSION * os.fstat(packed.fileno()).st_size)
    try:
        with gzip.GzipFile(fileobj=packed) as file:
            while block := take(file):
                total += len(block)
                if total > most:
                    raise DataError(
                        f"{shown(path)}: expands to more than {EXPANSION} times its size; unpack "
                        "it yourself if you trust it"
                    )
                yield block
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise DataError(f"{shown(path)}: is damaged: it cannot be decompressed") from None


def decoded(content: bytes | bytearray, where: str, encoding: str | None) -> str:
    """The text without its byte order mark; DataError names the line that is not in `encoding`."""
    codec = encoding or "utf-8-sig"
    try:
        return content.decode(codec).removeprefix("\ufeff")
    except UnicodeError as error:
        if not isinstance(error, UnicodeDecodeError):  # of UTF-16 without a byte order mark
            raise DataError(f"{where}: is not text in {encoding} ({error})") from None
        # the error counts from behind a byte order mark
        line = error.object[: error.start].decode(codec, "ignore").count("\n") + 1
        byte = f"0x{error.object[error.start]:02x}"
        name = encoding or "UTF-8"
        hint = proposal(bytes(content), error.start) if encoding is None else ""
        raise DataError(f"{where}, line {line}: is not {name} text (byte {byte}){hint}") from None


def _is_utf_8(content: bytes | bytearray) -> bool:
    """Whether text beyond ASCII is UTF-8."""
    if content.isascii():
        return False
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def proposal(content: bytes, start: int) -> str:
    """How a sentence about text that is not UTF-8 goes on: an encoding, and what it would give."""
    if content[:2] in _UTF_16:
        return "; it looks like UTF-16: `encoding: utf-16` in the data section reads it"
    if content[:2] == GZIP:
        return "; it is compressed with gzip, so its name must end in .gz"
    if wide := _wide(content):
        return f"; {wide}"
    encoding = _guess(content, start)
    if encoding is None:
        return "; `encoding` in the data section names another encoding"
    first = content.rfind(b"\n", 0, start) + 1
    after = content.find(b"\n", start)
    line = content[max(first, start - 20) : min(after if after > 0 else len(content), start + 20)]
    reading = line.decode(encoding, "ignore").strip()
    return f"; with `encoding: {encoding}` in the data section it reads {quoted(reading)}"


def _wide(content: bytes | bytearray) -> str:
    """A sentence on UTF-16 or UTF-32 that no byte order mark names: most bytes of ASCII are 0."""
    sample = bytes(content[:_SAMPLE])
    for name, zeros in (
        ("utf-32-le", sample[2::4] + sample[3::4]),
        ("utf-32-be", sample[4::4] + sample[5::4]),  # behind a byte order mark
    ):
        if len(zeros) > 4 and not any(zeros[2:]):
            return f"it looks like UTF-32: `encoding: {name}` in the data section reads it"
    for name, zeros in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[::2])):
        if zeros and zeros.count(0) > len(zeros) / 2:
            return f"it looks like UTF-16: `encoding: {name}` in the data section reads it"
    return ""


def _guess(content: bytes, start: int) -> str | None:
    """The encoding that the text is probably in, one that decodes all of it."""
    from charset_normalizer import from_bytes

    first = max(0, content.rfind(b"\n", 0, start))
    best = from_bytes(content[first : first + _SAMPLE]).best()
    candidates = ["cp1252", "latin-1"]
    if best is not None and best.encoding in _TELLING:
        candidates.insert(0, best.encoding)
    for encoding in candidates:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return encoding
    return None
