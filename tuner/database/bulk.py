"""Many finished trials at once: PostgreSQL's COPY, for studies that come from elsewhere.

Functions take a connection and never commit: what they write appears whole with the caller's
transaction or not at all.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple, cast

import numpy as np
import psycopg2.extensions
from sqlalchemy import Connection, text

from tuner.database import attributes
from tuner.database.spaces import StoredSpace
from tuner.errors import BadInputError
from tuner.trials import Cause, TrialState

BATCH = 10_000  # trials a COPY, so that memory holds the text of no more

_CLOCK = text("SELECT clock_timestamp()")
_IDS = {
    table: text(
        f"SELECT nextval(pg_get_serial_sequence('tuner.{table}', 'id')) "  # noqa: S608
        "FROM generate_series(1, :count)"
    )
    for table in ("trials", "spaces")
}
# Half of the server's work would be to look up the trial of each report. Study and trials were
# made in this very transaction: they are there, and nobody else can see or delete them.
_MAY_TRUST = text("SELECT current_setting('is_superuser') = 'on'")
_TRUST = text("SET LOCAL session_replication_role = 'replica'")
_CHECK = text("SET LOCAL session_replication_role = 'origin'")
_NEXT_NUMBER = text("""
    UPDATE tuner.studies SET next_number = greatest(next_number, :number) WHERE id = :study
""")
_COPY_SPACES = "COPY tuner.spaces (id, study_id, digest, distributions, names, texts) FROM STDIN"
_COPY_TRIALS = """
    COPY tuner.trials (id, study_id, space_id, number, state, params, objective_values,
                       user_attrs, system_attrs, started_at, finished_at, cause, message)
    FROM STDIN
"""
_COPY_REPORTS = "COPY tuner.reports (trial_id, step, value) FROM STDIN (FORMAT binary)"
# A row of COPY's binary format, three fields and their sizes before them: reports are most of what
# a study has, and the text of a float costs both sides more than all the rest.
# https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4
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
_BINARY = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # no flags, no extension
_BINARY_END = b"\xff\xff"
_NULL = r"\N"


class NewTrial(NamedTuple):
    """A trial to be stored as it is given, without a lease."""

    number: int
    state: TrialState
    space: StoredSpace | None  # one object for all trials that share it: it is stored once
    params: Sequence[float]  # Optuna's internal representation, in the space's order
    values: Sequence[float] | None
    reports: Mapping[int, float]
    user_attrs: Mapping[str, Any]
    system_attrs: Mapping[str, Any]
    started_at: datetime | None
    finished_at: datetime | None
    cause: Cause | None = None
    message: str | None = None


def clock(connection: Connection) -> datetime:
    """The database's time, in UTC."""
    now: datetime = connection.execute(_CLOCK).scalar_one()
    return now


def insert(
    connection: Connection, study_id: int, trials: Iterable[NewTrial], *, count: int
) -> None:
    """Store `count` trials of a study that this transaction has made.

    BadInputError where a trial holds what PostgreSQL cannot. A thread makes the text of a batch
    while the server takes in the one before. A superuser, as the embedded server's role is,
    may spare the server the check of foreign keys.
    """
    spaces: dict[str, int] = {}  # digest → id
    ids = iter(_ids(connection, "trials", count))
    remaining = iter(trials)
    top = 0
    trusted = connection.execute(_MAY_TRUST).scalar_one()
    if trusted:
        connection.execute(_TRUST)
    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead = pool.submit(_batch, remaining, ids)
        while (batch := ahead.result()).ids:
            ahead = pool.submit(_batch, remaining, ids)
            _store_spaces(connection, study_id, batch.spaces, spaces)
            lines = zip(batch.ids, batch.digests, batch.trials, strict=True)
            text_ = "".join(
                f"{id_}\t{study_id}\t{_NULL if digest is None else spaces[digest]}\t{rest}"
                for id_, digest, rest in lines
            )
            _copy(connection, _COPY_TRIALS, text_.encode())
            _copy(connection, _COPY_REPORTS, batch.reports)
            top = max(top, batch.top)
    if trusted:
        connection.execute(_CHECK)
    connection.execute(_NEXT_NUMBER, {"study": study_id, "number": top})


class _Batch(NamedTuple):
    """What COPY reads of some trials; their spaces' ids are only known while they are stored."""

    ids: list[int]
    digests: list[str | None]  # of the spaces
    spaces: dict[str, StoredSpace]  # by digest
    trials: list[str]  # lines, without the columns before `number`
    reports: bytes
    top: int  # one more than the largest number


def _batch(trials: Iterator[NewTrial], ids: Iterator[int]) -> _Batch:
    made = _Batch([], [], {}, [], b"", 0)
    owners: list[int] = []
    steps: list[int] = []
    values: list[float] = []
    top = 0
    for trial in islice(trials, BATCH):
        id_ = next(ids)
        made.ids.append(id_)
        space = trial.space
        made.digests.append(None if space is None else space.digest)
        if space is not None:
            made.spaces[space.digest] = space
        made.trials.append(_trial(trial))
        owners.extend([id_] * len(trial.reports))
        steps.extend(trial.reports)
        values.extend(trial.reports.values())
        top = max(top, trial.number + 1)
    return made._replace(reports=_reports(owners, steps, values), top=top)


def _reports(owners: Sequence[int], steps: Sequence[int], values: Sequence[float]) -> bytes:
    rows = np.empty(len(owners), _REPORT)
    rows["fields"] = 3
    for name, column in (("trial_id", owners), ("step", steps), ("value", values)):
        rows[f"{name}_size"] = _REPORT[name].itemsize
        rows[name] = column
    return _BINARY + rows.tobytes() + _BINARY_END


def _store_spaces(
    connection: Connection, study_id: int, found: Mapping[str, StoredSpace], known: dict[str, int]
) -> None:
    new = {digest: space for digest, space in found.items() if digest not in known}
    known.update(zip(new, _ids(connection, "spaces", len(new)), strict=True))
    lines = (
        (
            str(known[digest]),
            str(study_id),
            digest,
            _escaped(space.distributions),
            _escaped(_array(space.names)),
            _escaped(_array(space.texts)),
        )
        for digest, space in new.items()
    )
    _copy(connection, _COPY_SPACES, "".join("\t".join(line) + "\n" for line in lines).encode())


def _ids(connection: Connection, table: str, count: int) -> list[int]:
    return list(connection.execute(_IDS[table], {"count": count}).scalars())


def _copy(connection: Connection, statement: str, rows: bytes) -> None:
    cursor = cast(psycopg2.extensions.cursor, connection.connection.cursor())
    with cursor:
        # in one piece: after each the thread that makes text would keep the interpreter a while
        cursor.copy_expert(statement, io.BytesIO(rows), size=len(rows) + 1)


def _trial(trial: NewTrial) -> str:
    columns = (
        str(trial.number),
        trial.state,
        _numbers(trial.params),
        _NULL if trial.values is None else _numbers(trial.values),
        _attributes(trial.user_attrs, trial.number),
        _attributes(trial.system_attrs, trial.number),
        _NULL if trial.started_at is None else trial.started_at.isoformat(),
        _NULL if trial.finished_at is None else trial.finished_at.isoformat(),
        trial.cause or _NULL,
        _NULL if trial.message is None else _escaped(trial.message),
    )
    return "\t".join(columns) + "\n"


def _numbers(values: Iterable[float]) -> str:
    return "{" + ",".join([repr(float(value)) for value in values]) + "}"


def _array(texts: Iterable[str]) -> str:
    """An array's literal, not yet escaped for COPY."""
    quoted = ('"' + t.replace("\\", r"\\").replace('"', r"\"") + '"' for t in texts)
    return "{" + ",".join(quoted) + "}"


def _attributes(attrs: Mapping[str, Any], number: int) -> str:
    if not attrs:
        return "{}"
    for key in attributes.unstorable(attrs):
        raise BadInputError(
            f"trial {number} has an attribute named {key!r}, which PostgreSQL cannot store: "
            "names hold neither NUL nor half of a surrogate pair"
        )
    return _escaped(attributes.encode(attrs))


def _escaped(value: str) -> str:
    """A text as COPY reads it."""
    if "\\" in value:
        value = value.replace("\\", r"\\")
    if "\n" in value or "\t" in value or "\r" in value:
        value = value.replace("\n", r"\n").replace("\t", r"\t").replace("\r", r"\r")
    return value
