"""The two columns of a Parquet file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuner.data import source_files
from tuner.data.sources.columns import column
from tuner.errors import DataError
from tuner.files import shown


def rows(path: Path, text: str, label: str | None) -> Iterator[tuple[str, object, object]]:
    """Yield position (`row 7`), text and label of each row; the label is None if `label` is.

    DataError if the file is damaged or lacks a column.
    """
    import pyarrow as pa
    from pyarrow import parquet

    where = shown(path)
    with source_files.open_file(path) as file, source_files.reading(path):
        if not file.peek(1):
            raise DataError(f"{where}: is empty")
        try:
            source = parquet.ParquetFile(file)
            names = source.schema_arrow.names
            column(where, names, text, "text")
            if label is not None:
                column(where, names, label, "label")
            columns = [text] if label is None else [text, label]
            number = 0
            for batch in source.iter_batches(columns=columns):
                arrays = [batch.column(batch.schema.get_field_index(name)) for name in columns]
                values = [_values(array, where, number) for array in arrays]
                for cells in zip(*values, strict=True):
                    number += 1
                    yield f"row {number}", cells[0], cells[1] if label is not None else None
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(
                f"{where}: is damaged or not a Parquet file ({_reason(error)})"
            ) from None


def _values(array: Any, where: str, before: int) -> list[object]:
    """Return a column's values; text that its writer declared as bytes is decoded.

    `before` is the number of rows before the array's first.
    """
    try:
        values: list[object] = array.to_pylist()
        return [value.decode() if isinstance(value, bytes) else value for value in values]
    except UnicodeDecodeError:
        row = next(row for row, value in enumerate(array, start=1) if not _is_text(value))
        raise DataError(f"{where}, row {before + row}: is not UTF-8 text") from None


def _is_text(scalar: Any) -> bool:
    try:
        value = scalar.as_py()
        if isinstance(value, bytes):
            value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _reason(error: Exception) -> str:
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return line.rstrip(". ")[:200]
