"""Rows as COPY reads them in its binary format.

As text, floats would cost both sides more than all the rest of a trial. The format:
https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-BINARY; the bytes of a type are those
that its `…_recv` function reads.
"""

import io
import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import cast

import numpy as np
import psycopg2.extensions
from sqlalchemy import Connection

Field = bytes  # with its size before it

NULL = struct.pack(">i", -1)
EMPTY_OBJECT = struct.pack(">ib", 3, 1) + b"{}"  # jsonb: its version and its text

_START = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # no flags, no extension
_END = struct.pack(">h", -1)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FLOAT, _TEXT = 701, 25  # ids of types, by which arrays name their elements

_count = struct.Struct(">h").pack
_size = struct.Struct(">i").pack
_int4 = struct.Struct(">ii").pack
_int8 = struct.Struct(">iq").pack


def copy(connection: Connection, statement: str, rows: bytes) -> None:
    """Send rows, made by `row`, with a statement `COPY … FROM STDIN (FORMAT binary)`."""
    cursor = cast(psycopg2.extensions.cursor, connection.connection.cursor())
    whole = _START + rows + _END
    with cursor:
        # in one piece: after each, a thread that makes rows would keep the interpreter for a while
        cursor.copy_expert(statement, io.BytesIO(whole), size=len(whole) + 1)


def row(*fields: Field) -> bytes:
    """Encode a row of these fields."""
    return _count(len(fields)) + b"".join(fields)


def int4(value: int) -> Field:
    """Encode an `integer`."""
    return _int4(4, value)


def int8(value: int) -> Field:
    """Encode a `bigint`."""
    return _int8(8, value)


def text(value: str) -> Field:
    """Encode a text."""
    encoded = value.encode()
    return _size(len(encoded)) + encoded


def jsonb(value: str) -> Field:
    """Encode a `jsonb` object from its text."""
    encoded = value.encode()
    return _size(len(encoded) + 1) + b"\1" + encoded


def moment(value: datetime) -> Field:
    """Encode a `timestamptz`, to the microsecond."""
    return _int8(8, (value - _EPOCH) // _MICROSECOND)


def floats(values: Sequence[float]) -> Field:
    """Encode an array of `double precision`."""
    if not values:
        return _array(_FLOAT, 0, b"")
    width = len(values)
    interleaved = [part for value in values for part in (8, value)]
    return _floats(width).pack(20 + 12 * width, 1, 0, _FLOAT, width, 1, *interleaved)


@cache
def _floats(width: int) -> struct.Struct:
    return struct.Struct(">6i" + width * "id")


def texts(values: Iterable[str]) -> Field:
    """Encode an array of texts."""
    fields = [text(value) for value in values]
    return _array(_TEXT, len(fields), b"".join(fields))


def _array(type_: int, length: int, elements: bytes) -> Field:
    head = struct.pack(">3i", int(length > 0), 0, type_)  # dimensions, no nulls
    if length:
        head += struct.pack(">2i", length, 1)  # counted from 1
    return _size(len(head) + len(elements)) + head + elements


_REPORT = np.dtype(
    [
        ("fields", ">i2"),
        ("trial_id_size", ">i4"),
        ("trial_id", ">i8"),
        ("step_size", ">i4"),
        ("step", ">i8"),
        ("value_size", ">i4"),
        ("value", ">f8"),
    ]
)


def reports(trials: Sequence[int], steps: Sequence[int], values: Sequence[float]) -> bytes:
    """Encode rows of `trial_id`, `step` and `value`, all at once: there are many."""
    rows = np.empty(len(trials), _REPORT)
    rows["fields"] = 3
    for name, column in (("trial_id", trials), ("step", steps), ("value", values)):
        rows[f"{name}_size"] = _REPORT[name].itemsize
        rows[name] = column
    return rows.tobytes()
