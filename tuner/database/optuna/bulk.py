"""Many finished trials at once: PostgreSQL's COPY, for studies that come from elsewhere.

Functions take a connection and never commit: what they write appears whole with the caller's
transaction or not at all.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from tuner.database import attributes
from tuner.database.optuna import binary
from tuner.database.optuna.binary import Field, copy
from tuner.database.optuna.prefetch import prefetch
from tuner.database.spaces import StoredSpace
from tuner.errors import BadInputError
from tuner.origin import Origin, OriginKind
from tuner.trials import Cause, TrialState

_IMPORTED = binary.jsonb(json.dumps(Origin(kind=OriginKind.IMPORTED).as_json()))
BATCH = 10_000  # trials per COPY, which bounds the memory

_CLOCK = text("SELECT clock_timestamp()")
_IDS = {
    table: text(
        f"SELECT nextval(pg_get_serial_sequence('tuner.{table}', 'id')) "  # noqa: S608
        "FROM generate_series(1, :count)"
    )
    for table in ("trials", "spaces")
}
# Half of the server's work would be looking up the trial of each report. Study and trials were made
# in this very transaction: they exist, and nobody else can see or delete them.
_MAY_TRUST = text("SELECT current_setting('is_superuser') = 'on'")
_TRUST = text("SET LOCAL session_replication_role = 'replica'")
_CHECK = text("SET LOCAL session_replication_role = 'origin'")
_NEXT_NUMBER = text("""
    UPDATE tuner.studies SET next_number = greatest(next_number, :number) WHERE id = :study
""")
_COPY_SPACES = """
    COPY tuner.spaces (id, study_id, digest, distributions, names, texts)
    FROM STDIN (FORMAT binary)
"""
_COPY_TRIALS = """
    COPY tuner.trials (id, study_id, space_id, number, state, params, objective_values,
                       user_attrs, system_attrs, started_at, finished_at, cause, message,
                       origin)
    FROM STDIN (FORMAT binary)
"""
_COPY_REPORTS = "COPY tuner.reports (trial_id, step, value) FROM STDIN (FORMAT binary)"


class NewTrial(NamedTuple):
    """A trial to be stored as it is, without a lease."""

    number: int
    state: TrialState
    space: StoredSpace | None  # the same object for all trials that share it: stored once
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
    """Read the database's time, in UTC."""
    now: datetime = connection.execute(_CLOCK).scalar_one()
    return now


def insert(
    connection: Connection, study_id: int, trials: Iterable[NewTrial], *, count: int
) -> None:
    """Store `count` trials of a study that this transaction has made.

    BadInputError if a trial holds something that PostgreSQL cannot. A thread makes the rows of a
    batch while the server stores the one before. A superuser, as the embedded server's role is, can
    spare the server the check of foreign keys.
    """
    spaces: dict[str, int] = {}  # digest → id
    ids = iter(_ids(connection, "trials", count))
    remaining = iter(trials)
    top = 0
    trusted = connection.execute(_MAY_TRUST).scalar_one()
    if trusted:
        connection.execute(_TRUST)
    with closing(prefetch(_batches(remaining, ids))) as batches:
        for batch in batches:
            _store_spaces(connection, study_id, batch.spaces, spaces)
            rows = zip(batch.ids, batch.digests, batch.trials, strict=True)
            study = binary.int8(study_id)
            copy(
                connection,
                _COPY_TRIALS,
                b"".join(
                    binary.row(
                        binary.int8(id_),
                        study,
                        binary.NULL if digest is None else binary.int8(spaces[digest]),
                        *fields,
                    )
                    for id_, digest, fields in rows
                ),
            )
            copy(connection, _COPY_REPORTS, batch.reports)
            top = max(top, batch.top)
    if trusted:
        connection.execute(_CHECK)
    connection.execute(_NEXT_NUMBER, {"study": study_id, "number": top})


class _Batch(NamedTuple):
    """What COPY reads of some trials; the ids of their spaces come when they are stored."""

    ids: list[int]
    digests: list[str | None]  # of the spaces
    spaces: dict[str, StoredSpace]  # by digest
    trials: list[Sequence[Field]]  # without the columns before `number`
    reports: bytes
    top: int  # one more than the largest number


def _batches(trials: Iterator[NewTrial], ids: Iterator[int]) -> Iterator[_Batch]:
    while (batch := _batch(trials, ids)).ids:
        yield batch


def _batch(trials: Iterator[NewTrial], ids: Iterator[int]) -> _Batch:
    batch = _Batch([], [], {}, [], b"", 0)
    owners: list[int] = []
    steps: list[int] = []
    values: list[float] = []
    top = 0
    for trial in islice(trials, BATCH):
        id_ = next(ids)
        batch.ids.append(id_)
        space = trial.space
        batch.digests.append(None if space is None else space.digest)
        if space is not None:
            batch.spaces[space.digest] = space
        batch.trials.append(_fields(trial))
        owners.extend([id_] * len(trial.reports))
        steps.extend(trial.reports)
        values.extend(trial.reports.values())
        top = max(top, trial.number + 1)
    return batch._replace(reports=binary.reports(owners, steps, values), top=top)


def _store_spaces(
    connection: Connection, study_id: int, spaces: Mapping[str, StoredSpace], ids: dict[str, int]
) -> None:
    new = {digest: space for digest, space in spaces.items() if digest not in ids}
    ids.update(zip(new, _ids(connection, "spaces", len(new)), strict=True))
    rows = (
        binary.row(
            binary.int8(ids[digest]),
            binary.int8(study_id),
            binary.text(digest),
            binary.text(space.distributions),
            binary.texts(space.names),
            binary.texts(space.texts),
        )
        for digest, space in new.items()
    )
    copy(connection, _COPY_SPACES, b"".join(rows))


def _ids(connection: Connection, table: str, count: int) -> list[int]:
    return list(connection.execute(_IDS[table], {"count": count}).scalars())


def _fields(trial: NewTrial) -> tuple[Field, ...]:
    return (
        binary.int4(trial.number),
        binary.text(trial.state),
        binary.floats(trial.params),
        binary.NULL if trial.values is None else binary.floats(trial.values),
        _attributes(trial.user_attrs, trial.number),
        _attributes(trial.system_attrs, trial.number),
        binary.NULL if trial.started_at is None else binary.moment(trial.started_at),
        binary.NULL if trial.finished_at is None else binary.moment(trial.finished_at),
        binary.NULL if trial.cause is None else binary.text(trial.cause),
        binary.NULL if trial.message is None else binary.text(trial.message),
        _IMPORTED,
    )


def _attributes(attrs: Mapping[str, Any], number: int) -> Field:
    if not attrs:
        return binary.EMPTY_OBJECT
    for key in attributes.unstorable(attrs):
        raise BadInputError(
            f"trial {number} has an attribute named {key!r}, which PostgreSQL cannot store: "
            "names hold neither NUL nor half of a surrogate pair"
        )
    return binary.jsonb(attributes.encode(attrs))
