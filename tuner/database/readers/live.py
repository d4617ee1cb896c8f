"""A study's trials in columns that are kept up to date, from which pages of long studies are made.

Columns are arrays indexed by trial number, so a change costs the same in a study of any length.
Reports stay in the database: pages show those of a few hundred trials at most
(`columns.reports_of`). Not thread-safe: threads that share it hold a lock.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from tuner.database.attributes import decode_constraints, has_constraints
from tuner.database.readers import columns
from tuner.database.readers.columns import NEVER, Columns, Integers
from tuner.database.readers.feed import Feed, TrialRow
from tuner.database.spaces import Distributions
from tuner.origin import Origin
from tuner.trials import Cause, Direction, ParamValue, Trial, TrialState

STATES = tuple(TrialState)
CAUSES = tuple(Cause)
NO_TRIAL = -1  # in `state`: no trial has this number
NO_CODE = -1  # in `cause` and `worker`: none

_WORKERS = text("SELECT id, host || ':' || pid AS name FROM tuner.workers")
_ZERO = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(slots=True)
class Parameter:
    """One parameter's column: indices of `choices` if it is categorical, else numbers."""

    name: str
    kind: str  # float, int or categorical
    log: bool
    values: NDArray[np.float64]  # NaN: the trial lacks it
    choices: list[ParamValue] = field(default_factory=list)

    def external(self, value: float) -> ParamValue:
        """Convert a value to the user's."""
        if self.kind == "categorical":
            return self.choices[int(value)]
        return int(value) if self.kind == "int" else value


class LiveTrials:
    """All trials of one study."""

    def __init__(self, study_id: int, directions: Sequence[Direction]) -> None:
        self.study_id = study_id
        self.directions = tuple(directions)
        self.version = 0  # grows with every change
        self.size = 0  # one more than the largest number
        self.counts = dict.fromkeys(TrialState, 0)
        self.params: dict[str, Parameter] = {}
        self.workers: list[str] = []  # names that `worker` refers to
        self.running: dict[int, TrialRow] = {}  # by number, with reports
        self._feed = Feed(study_id, metrics=False)
        self._begun = False
        self._worker_names: dict[bytes, str] = {}
        self._worker_codes: dict[str, int] = {}
        self.kinds: list[str] = []  # of origins, that `proposed` refers to
        self._kind_codes: dict[str, int] = {}
        self._choices: dict[int, list[list[int]]] = {}  # by space: its index of a choice → ours
        self._capacity = 0
        self._arrays: dict[str, NDArray[Any]] = {
            "state": np.empty(0, np.int8),
            "cause": np.empty(0, np.int8),
            "worker": np.empty(0, np.int32),
            "proposed": np.empty(0, np.int32),
            "attempt": np.empty(0, np.int32),
            "violated": np.empty(0, np.bool_),
            "created": np.empty(0, np.int64),
            "started": np.empty(0, np.int64),
            "finished": np.empty(0, np.int64),
        }
        self._values = np.empty((0, len(self.directions)))
        self._constraints: dict[int, Mapping[str, float]] = {}  # by number, of trials that have any

    # Columns, one entry per number

    @property
    def state(self) -> NDArray[np.int8]:
        """Indices of `STATES`; `NO_TRIAL` for numbers without a trial."""
        return self._arrays["state"][: self.size]

    @property
    def cause(self) -> NDArray[np.int8]:
        """Indices of `CAUSES`; `NO_CODE` where there is none."""
        return self._arrays["cause"][: self.size]

    @property
    def worker(self) -> NDArray[np.int32]:
        """Indices of `workers`; `NO_CODE` if no worker had the trial."""
        return self._arrays["worker"][: self.size]

    @property
    def proposed(self) -> NDArray[np.int32]:
        """Indices of `kinds`, what proposed each trial; `NO_CODE` where that is not known."""
        return self._arrays["proposed"][: self.size]

    @property
    def attempt(self) -> NDArray[np.int32]:
        """How often each trial was claimed."""
        return self._arrays["attempt"][: self.size]

    @property
    def violated(self) -> NDArray[np.bool_]:
        """Whether the trial violates a constraint."""
        return self._arrays["violated"][: self.size]

    @property
    def created(self) -> Integers:
        """When it was made, in µs since 1970."""
        return self._arrays["created"][: self.size]

    @property
    def started(self) -> Integers:
        """When the latest attempt started, in µs since 1970; `NEVER` before the first."""
        return self._arrays["started"][: self.size]

    @property
    def finished(self) -> Integers:
        """When it ended, in µs since 1970; `NEVER` while it is open."""
        return self._arrays["finished"][: self.size]

    @property
    def values(self) -> NDArray[np.float64]:
        """Results, (numbers, objectives); the last report of trials without a result; or NaN."""
        return self._values[: self.size]

    def column(self, name: str) -> NDArray[np.float64]:
        """A parameter's values."""
        return self.params[name].values[: self.size]

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Whether each trial is complete with finite values."""
        is_complete: NDArray[np.bool_] = self.state == STATES.index(TrialState.COMPLETE)
        return is_complete & np.isfinite(self.values).all(axis=1)

    @property
    def comparable(self) -> NDArray[np.bool_]:
        """Whether each trial is pruned or paused, or complete with finite values."""
        cut = [STATES.index(TrialState.PRUNED), STATES.index(TrialState.PAUSED)]
        is_cut: NDArray[np.bool_] = np.isin(self.state, cut)
        return is_cut | self.complete

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Whether each trial is complete and violates no constraint, so that it can be the best."""
        return self.complete & ~self.violated

    # Reading

    def refresh(self, connection: Connection) -> list[int]:
        """Read what changed; returns the numbers of these trials.

        StudyNotFoundError if the study was deleted.
        """
        changed: list[int] = []
        if not self._begun:
            changed += self._begin(connection)
        news = self._select_news(self._feed.poll(connection))
        for row in news:
            self._note(row)
            changed.append(row.number)
        if changed:
            self.version += 1
        return changed

    def _select_news(self, rows: Iterable[TrialRow]) -> list[TrialRow]:
        """Leave out running trials without news: these are the same objects as before."""
        return [row for row in rows if self.running.get(row.number) is not row]

    def _begin(self, connection: Connection) -> list[int]:
        snapshot, parts = columns.finished(
            connection, self.study_id, with_attributes=False, with_details=True
        )
        self._feed.learn_spaces(connection, {part.space_id for part in parts})
        self._feed.begin(snapshot)
        self._begun = True
        self._worker_names = {row.id.bytes: row.name for row in connection.execute(_WORKERS)}
        for part in parts:
            self._load(part)
        return [number for part in parts for number in part.numbers.tolist()]

    def _load(self, part: Columns) -> None:
        details, at = part.details, part.numbers
        assert details is not None
        self._reserve(int(at[-1]) + 1)
        state = TrialState(part.state)
        self.counts[state] += len(at)
        self._arrays["state"][at] = STATES.index(state)
        self._arrays["cause"][at] = NO_CODE if details.cause is None else _cause(details.cause)
        self._arrays["attempt"][at] = part.attempts
        self._arrays["created"][at] = details.created
        self._arrays["started"][at] = part.started
        self._arrays["finished"][at] = part.finished
        self._arrays["proposed"][at] = _code(details.proposed, self.kinds, self._kind_codes)
        codes = {key: self._code(self._name_of(key)) for key in set(details.workers)}
        self._arrays["worker"][at] = [codes[key] for key in details.workers]
        for number, attributes in details.constraints.items():
            self._note_constraints(int(number), decode_constraints(attributes))
        if part.values is not None:
            width = min(part.values.shape[1], self._values.shape[1])
            self._values[at, :width] = part.values[:, :width]
        if part.space_id is not None:
            for i, parameter in enumerate(self._space(part.space_id)):
                internal = part.params[:, i]
                if parameter.kind == "categorical":
                    here = np.array(self._choices[part.space_id][i], dtype=np.float64)
                    internal = here[internal.astype(np.int64)]
                parameter.values[at] = internal

    def _note(self, row: TrialRow) -> None:
        number, state = row.number, TrialState(row.state)
        self._reserve(number + 1)
        before = int(self._arrays["state"][number])
        if before != NO_TRIAL:
            self.counts[STATES[before]] -= 1
        self.counts[state] += 1
        values = row.values
        if values is None and row.report_values and state is not TrialState.FAILED:
            values = [row.report_values[-1]]
        self._values[number] = math.nan
        if values:
            width = min(len(values), self._values.shape[1])
            self._values[number, :width] = values[:width]
        system = json.loads(row.system_attrs) if has_constraints(row.system_attrs) else {}
        self._note_constraints(number, decode_constraints(system))
        for key, entry in (
            ("state", STATES.index(state)),
            ("cause", NO_CODE if row.cause is None else _cause(row.cause)),
            ("worker", self._code(row.worker)),
            ("proposed", _code(_kind(row.origin), self.kinds, self._kind_codes)),
            ("attempt", row.attempt),
            ("created", _micros(row.created_at)),
            ("started", _micros(row.started_at)),
            ("finished", _micros(row.finished_at)),
        ):
            self._arrays[key][number] = entry
        for parameter in self.params.values():
            parameter.values[number] = math.nan
        if row.space_id is not None:
            for i, parameter in enumerate(self._space(row.space_id)):
                value = row.params[i]
                if parameter.kind == "categorical":
                    value = self._choices[row.space_id][i][int(value)]
                parameter.values[number] = value
        if state is TrialState.RUNNING:
            self.running[number] = row
        else:
            self.running.pop(number, None)

    def _note_constraints(self, number: int, values: Mapping[str, float]) -> None:
        self._arrays["violated"][number] = any(value > 0 for value in values.values())
        if values:
            self._constraints[number] = values
        else:
            self._constraints.pop(number, None)

    def _reserve(self, size: int) -> None:
        self.size = max(self.size, size)
        if size <= self._capacity:
            return
        more = max(size, 2 * self._capacity, 256) - self._capacity
        empty = {
            "state": NO_TRIAL,
            "cause": NO_CODE,
            "worker": NO_CODE,
            "proposed": NO_CODE,
            "started": NEVER,
        }
        for key, array in self._arrays.items():
            rest = np.full(more, empty.get(key, NEVER if key == "finished" else 0), array.dtype)
            self._arrays[key] = np.concatenate([array, rest])
        width = self._values.shape[1]
        self._values = np.concatenate([self._values, np.full((more, width), math.nan)])
        self._capacity += more
        for parameter in self.params.values():
            parameter.values = np.concatenate([parameter.values, np.full(more, math.nan)])

    def _space(self, space_id: int) -> list[Parameter]:
        """Return a space's parameters, in its order; learns how its choices are indexed here."""
        distributions: Distributions = self._feed.spaces[space_id]
        parameters = [self._parameter(name, distribution) for name, distribution in distributions]
        if space_id not in self._choices:
            self._choices[space_id] = [
                [_index(parameter.choices, c) for c in distribution["attributes"]["choices"]]
                if parameter.kind == "categorical"
                else []
                for parameter, (_, distribution) in zip(parameters, distributions, strict=True)
            ]
        return parameters

    def _parameter(self, name: str, distribution: Mapping[str, Any]) -> Parameter:
        parameter = self.params.get(name)
        if parameter is None:
            kind = distribution["name"].removesuffix("Distribution").lower()
            log = bool(distribution["attributes"].get("log"))
            parameter = Parameter(name, kind, log, np.full(self._capacity, math.nan))
            self.params[name] = parameter
        return parameter

    def _name_of(self, worker: bytes) -> str | None:
        """Return a worker's name; None if there was none, or its row is gone."""
        return self._worker_names.get(worker)

    def _code(self, name: str | None) -> int:
        return _code(name, self.workers, self._worker_codes)

    # Records

    def trials(self, numbers: Iterable[int]) -> list[Trial]:
        """Make records of these trials, in this order, without what no table shows.

        That is reports, messages, attributes, and of origins all but their kind.
        """
        at = np.fromiter(numbers, dtype=np.int64)
        params: list[dict[str, ParamValue]] = [{} for _ in at]
        for name, parameter in self.params.items():
            for by_name, value in zip(params, parameter.values[at].tolist(), strict=True):
                if value == value:  # noqa: PLR0124 - not NaN
                    by_name[name] = parameter.external(value)
        columns = {key: array[at].tolist() for key, array in self._arrays.items()}
        values = [tuple(v for v in row if v == v) for row in self._values[at].tolist()]  # noqa: PLR0124
        return [
            Trial(
                number=number,
                state=STATES[columns["state"][i]],
                params=params[i],
                values=values[i] or None,
                attempt=columns["attempt"][i],
                worker=None if (code := columns["worker"][i]) == NO_CODE else self.workers[code],
                cause=None if (code := columns["cause"][i]) == NO_CODE else CAUSES[code],
                origin=None
                if (code := columns["proposed"][i]) == NO_CODE
                else Origin(kind=self.kinds[code]),
                created_at=moment(columns["created"][i]),
                started_at=moment(columns["started"][i]),
                finished_at=moment(columns["finished"][i]),
                violates_constraint=columns["violated"][i],
                constraints=self._constraints.get(number, {}),
            )
            for i, number in enumerate(at.tolist())
        ]


def _code(name: str | None, names: list[str], codes: dict[str, int]) -> int:
    """Return the index of a name, added if it is new; `NO_CODE` for none."""
    if name is None:
        return NO_CODE
    if name not in codes:
        codes[name] = len(names)
        names.append(name)
    return codes[name]


def _kind(origin: str | None) -> str | None:
    """Return the kind of an origin as a row has it."""
    read = None if origin is None else Origin.from_json(json.loads(origin))
    return None if read is None else read.kind


def moment(micros: int) -> datetime | None:
    """Convert a column's time; None for `NEVER`."""
    return None if micros == NEVER else _ZERO + timedelta(microseconds=int(micros))


def _micros(moment: datetime | None) -> int:
    return int(NEVER) if moment is None else (moment - _ZERO) // _MICROSECOND


def _cause(name: str) -> int:
    return CAUSES.index(Cause(name))


def _index(choices: list[ParamValue], choice: ParamValue) -> int:
    """Return the index of a choice, added if it is new; 1, 1.0 and True are three."""
    for i, candidate in enumerate(choices):
        if type(candidate) is type(choice) and candidate == choice:
            return i
    choices.append(choice)
    return len(choices) - 1
