"""Sentences without labels: a text file with one a line, or a column of a table."""

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from tuner.data import raw
from tuner.data.sources import table
from tuner.errors import DataError
from tuner.files import shown
from tuner.spec.data import CORPUS_SUFFIXES, TEXT_SUFFIXES, DataSpec
from tuner.spec.words import listed


def sentences(spec: DataSpec) -> Iterator[str]:
    """The sentences that are not blank, in order; DataError names the first line that is wrong."""
    path = spec.path if spec.path is not None else raw.packaged(spec.source)
    where = shown(path)
    if path.suffix.lower() in TEXT_SUFFIXES:
        for row in table.rows(path, spec.text, None):
            text = table.usable(where, row)
            if text is not None:
                yield text
    elif spec.path is None or path.name.lower().endswith(CORPUS_SUFFIXES):
        yield from _lines(path, where)
    else:
        raise DataError(f"{where}: its name must end in one of {listed(CORPUS_SUFFIXES)}")


def _lines(path: Path, where: str) -> Iterator[str]:
    with raw.opened(path) as packed, raw.reading(path):
        file = packed
        if packed.peek(2)[:2] == b"\x1f\x8b":
            file = cast(io.BufferedReader, gzip.GzipFile(fileobj=packed))
        try:
            for number, line in enumerate(file, start=1):
                text = _decoded(line, f"{where}, line {number}")
                if text.strip():
                    yield text
        except (gzip.BadGzipFile, EOFError, zlib.error):
            raise DataError(f"{where}: is damaged: it cannot be decompressed") from None


def _decoded(line: bytes, where: str) -> str:
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        hint = "; it looks like UTF-16" if line[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise DataError(
            f"{where}: is not UTF-8 text (byte 0x{line[error.start]:02x}){hint}"
        ) from None
    if "\0" in text:
        raise DataError(f"{where}: holds a NUL character; is this a text file?")
    return text
