"""Sentences without labels: a text file with one per line, or a column of a table."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tuner.data import source_files
from tuner.data.sources import table, text_files
from tuner.errors import DataError
from tuner.files import shown
from tuner.study_file.data import CORPUS_SUFFIXES, DataSpec, table_suffix
from tuner.study_file.messages import listed


class Sentences(NamedTuple):
    """An open corpus."""

    texts: Iterator[str]  # not blank, in order; a DataError names the first wrong line
    notes: Sequence[str] = ()  # on how the file is read


def open_corpus(spec: DataSpec) -> Sentences:
    """Open the sentences of a text file, a table or a package; DataError if there is none."""
    path = spec.path if spec.path is not None else source_files.locate_packaged(spec.source)
    where = shown(path)
    if table_suffix(path) is not None:
        rows = table.open_table(path, spec, label=False)
        texts = (table.text_of(where, row) for row in rows.rows)
        return Sentences((text for text in texts if text is not None), rows.notes)
    if spec.path is not None and not path.name.lower().endswith(CORPUS_SUFFIXES):
        raise DataError(f"{where}: its name must end in one of {listed(CORPUS_SUFFIXES)}")
    if spec.encoding is not None:
        content, notes = text_files.read(path, spec.encoding)
        return Sentences((line for line in content.split("\n") if line.strip()), notes)
    return Sentences(_read_lines(path, where))


def _read_lines(path: Path, where: str) -> Iterator[str]:
    with source_files.open_file(path) as file, source_files.reading(path):
        lines: Iterator[bytes] = file
        if file.peek(2)[:2] == text_files.GZIP:
            # at most what a file may expand to: a line may have no end
            limit = text_files.FLOOR + 1
            lines = text_files.decompress(path, file, lambda packed: packed.readline(limit))
        for number, line in enumerate(lines, start=1):
            text = _decode(line, f"{where}, line {number}")
            if text.strip():
                yield text


def _decode(line: bytes, where: str) -> str:
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: is not UTF-8 text (byte 0x{line[error.start]:02x})"
            f"{text_files.propose_encoding(line, error.start)}"
        ) from None
    if "\0" in text:
        raise DataError(f"{where}: holds a NUL character; is this a text file?")
    return text
