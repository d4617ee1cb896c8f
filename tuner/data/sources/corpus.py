"""Sentences without labels: a text file with one a line, or a column of a table."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tuner.data import raw
from tuner.data.sources import table, text_files
from tuner.errors import DataError
from tuner.files import shown
from tuner.study_file.data import CORPUS_SUFFIXES, DataSpec, table_suffix
from tuner.study_file.messages import listed


class Sentences(NamedTuple):
    """A corpus that is open."""

    texts: Iterator[str]  # those that are not blank, in order; DataError names a line that is wrong
    notes: Sequence[str] = ()  # on how the file is read


def sentences(spec: DataSpec) -> Sentences:
    """The sentences of a text file, a table or a package; DataError if there is none."""
    path = spec.path if spec.path is not None else raw.packaged(spec.source)
    where = shown(path)
    if table_suffix(path) is not None:
        opened = table.opened(path, spec, label=False)
        texts = (table.usable(where, row) for row in opened.rows)
        return Sentences((text for text in texts if text is not None), opened.notes)
    if spec.path is not None and not path.name.lower().endswith(CORPUS_SUFFIXES):
        raise DataError(f"{where}: its name must end in one of {listed(CORPUS_SUFFIXES)}")
    if spec.encoding is not None:
        content, notes = text_files.read(path, spec.encoding)
        return Sentences((line for line in content.split("\n") if line.strip()), notes)
    return Sentences(_lines(path, where))


def _lines(path: Path, where: str) -> Iterator[str]:
    with raw.opened(path) as file, raw.reading(path):
        lines: Iterator[bytes] = file
        if file.peek(2)[:2] == text_files.GZIP:
            # no more at once than a file may expand to: a line may have no end
            most = text_files.FLOOR + 1
            lines = text_files.unpacked(path, file, lambda packed: packed.readline(most))
        for number, line in enumerate(lines, start=1):
            text = _decoded(line, f"{where}, line {number}")
            if text.strip():
                yield text


def _decoded(line: bytes, where: str) -> str:
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: is not UTF-8 text (byte 0x{line[error.start]:02x})"
            f"{text_files.proposal(line, error.start)}"
        ) from None
    if "\0" in text:
        raise DataError(f"{where}: holds a NUL character; is this a text file?")
    return text
