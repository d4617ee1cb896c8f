"""Read text files of any encoding, with or without a byte order mark, compressed or not."""

import codecs
import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from tuner.data import source_files
from tuner.errors import DataError
from tuner.files import shown
from tuner.study_file.messages import quoted

GZIP = b"\x1f\x8b"
EXPANSION = 100  # times its size that a compressed file may expand to; text expands 3 to 20 times
FLOOR = 256 << 20  # bytes that any file may expand to
BLOCK = 1 << 20  # bytes read at a time

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SAMPLE = 16_384  # bytes from which an encoding is guessed
# encodings of a distinct script; those of Latin letters are too similar to be told apart
_DISTINCT = (
    *("cp1251", "koi8_r", "koi8_u", "cp866", "mac_cyrillic", "cp1253", "cp1255", "cp1256"),
    *("cp932", "shift_jis", "euc_jp", "gb18030", "gbk", "big5", "cp949", "euc_kr", "johab"),
)


def read(path: Path, encoding: str | None) -> tuple[str, list[str]]:
    """Read a file's text; also returns notes on how it was read.

    Without `encoding` it must be UTF-8, or UTF-16 with a byte order mark. DataError if it is
    something else, damaged, empty, no text, or expands too far.
    """
    where = shown(path)
    is_compressed = path.suffix.lower() == ".gz"
    content = _read_compressed(path) if is_compressed else source_files.read_bytes(path)
    notes = []
    if encoding is None and content[:2] in _UTF_16:
        encoding = "utf-16"
        notes.append("the file was read as UTF-16, as its byte order mark says")
    elif encoding is not None and _is_utf_8(content):
        notes.append(f"the file is valid UTF-8, but was read as {encoding}, as `encoding` says")
    text = decode(content, where, encoding)
    if not text or text.isspace():
        raise DataError(f"{where}: is empty")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        hint = _propose_wide(content) or "is this a text file?"
        raise DataError(f"{where}, line {line}: holds a NUL character; {hint}")
    return text, notes


def _read_compressed(path: Path) -> bytearray:
    """Read and decompress a gzip file."""
    content = bytearray()
    with source_files.open_file(path) as compressed, source_files.reading(path):
        if not compressed.peek(1):
            raise DataError(f"{shown(path)}: is empty")
        for block in decompress(path, compressed, lambda file: file.read(BLOCK)):
            content += block
    return content


def decompress(
    path: Path, compressed: io.BufferedReader, read_block: Callable[[gzip.GzipFile], bytes]
) -> Iterator[bytes]:
    """Yield what `read_block` reads of a gzip file, until it reads nothing.

    DataError if the file is damaged or expands too far.
    """
    total, limit = 0, max(FLOOR, EXPANSION * os.fstat(compressed.fileno()).st_size)
    try:
        with gzip.GzipFile(fileobj=compressed) as file:
            while block := read_block(file):
                total += len(block)
                if total > limit:
                    raise DataError(
                        f"{shown(path)}: expands to more than {EXPANSION} times its size; if you "
                        "trust it, decompress it first"
                    )
                yield block
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise DataError(f"{shown(path)}: is damaged: it cannot be decompressed") from None


def decode(content: bytes | bytearray, where: str, encoding: str | None) -> str:
    """Decode text without its byte order mark; DataError names the line that cannot be decoded."""
    codec = encoding or "utf-8-sig"
    try:
        return content.decode(codec).removeprefix("\ufeff")
    except UnicodeError as error:
        if not isinstance(error, UnicodeDecodeError):  # of UTF-16 without a byte order mark
            raise DataError(f"{where}: is not text in {encoding} ({error})") from None
        # the error's position does not count a byte order mark
        line = error.object[: error.start].decode(codec, "ignore").count("\n") + 1
        byte = f"0x{error.object[error.start]:02x}"
        name = encoding or "UTF-8"
        hint = propose_encoding(bytes(content), error.start) if encoding is None else ""
        raise DataError(f"{where}, line {line}: is not {name} text (byte {byte}){hint}") from None


def _is_utf_8(content: bytes | bytearray) -> bool:
    """Whether the content is UTF-8 and more than ASCII."""
    if content.isascii():
        return False
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def propose_encoding(content: bytes, start: int) -> str:
    """Complete a sentence about text that is not UTF-8: an encoding, and how it would read.

    `start` is the position of the first wrong byte.
    """
    if content[:2] in _UTF_16:
        return "; it looks like UTF-16: set `encoding: utf-16` in the data section"
    if content[:2] == GZIP:
        return "; it is compressed with gzip, so its name must end in .gz"
    if wide := _propose_wide(content):
        return f"; {wide}"
    encoding = _guess(content, start)
    if encoding is None:
        return "; name its encoding with `encoding` in the data section"
    first = content.rfind(b"\n", 0, start) + 1
    after = content.find(b"\n", start)
    line = content[max(first, start - 20) : min(after if after > 0 else len(content), start + 20)]
    reading = line.decode(encoding, "ignore").strip()
    return f"; with `encoding: {encoding}` in the data section it reads {quoted(reading)}"


def _propose_wide(content: bytes | bytearray) -> str:
    """Recognize UTF-16 or UTF-32 without a byte order mark: many bytes of it are 0."""
    sample = bytes(content[:_SAMPLE])
    for name, zeros in (
        ("utf-32-le", sample[2::4] + sample[3::4]),
        ("utf-32-be", sample[4::4] + sample[5::4]),  # behind a byte order mark
    ):
        if len(zeros) > 4 and not any(zeros[2:]):
            return f"it looks like UTF-32: set `encoding: {name}` in the data section"
    for name, zeros in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[::2])):
        if zeros and zeros.count(0) > len(zeros) / 2:
            return f"it looks like UTF-16: set `encoding: {name}` in the data section"
    return ""


def _guess(content: bytes, start: int) -> str | None:
    """Guess the text's encoding, one that decodes all of it."""
    from charset_normalizer import from_bytes

    first = max(0, content.rfind(b"\n", 0, start))
    best = from_bytes(content[first : first + _SAMPLE]).best()
    candidates = ["cp1252", "latin-1"]
    if best is not None and best.encoding in _DISTINCT:
        candidates.insert(0, best.encoding)
    for encoding in candidates:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return encoding
    return None
