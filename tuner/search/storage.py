"""Optuna's storage on tuner's tables: `optuna.create_study(storage=tuner.storage())`.

Implements `optuna.storages.BaseStorage`; every read of all trials fetches only what changed since
the one before. Trials made here have no lease and are never requeued, as in Optuna's own storages.
They count in their study's budgets as those of workers do: `StudyClosedError` where none is left.
"""

import copy
import threading
import uuid
from collections.abc import Container, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
)
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy  # the type that BaseStorage promises
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState
from sqlalchemy import Connection

from tuner import settings, shell
from tuner.database import attributes, refusals, serving, studies, study_limits
from tuner.database.engine import Database, connect
from tuner.database.optuna import writes
from tuner.database.readers import feed
from tuner.database.schema import check
from tuner.errors import BadInputError, StudyClosedError, StudyExistsError, StudyNotFoundError
from tuner.search import distributions as convert
from tuner.search.directions import optuna_direction, our_direction
from tuner.search.ending import Ending
from tuner.search.history import History
from tuner.study_file.messages import quoted
from tuner.study_file.plain import plain
from tuner.study_file.resolve import fit_configuration
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import Limits, Study, StudyState, TrialState

_UNNAMED = "no-name-"  # what Optuna calls studies without a name
_ENQUEUED = "fixed_params"  # where Optuna keeps the parameters of `enqueue_trial`


_Params = Mapping[str, tuple[BaseDistribution, float]]  # the value in Optuna's internal form
_Key = tuple[tuple[str, BaseDistribution], ...]


class _OpenTrial(NamedTuple):
    """What this process knows of a trial's parameters; a write that relies on it checks it."""

    study_id: int
    space_id: int | None
    params: _Params


def _key(params: _Params) -> _Key:
    return tuple((name, distribution) for name, (distribution, _) in params.items())


def _values(params: _Params) -> list[float]:
    return [value for _, value in params.values()]


class Storage(BaseStorage):
    """Optuna's view of a database; can be pickled (the copy opens connections of its own)."""

    def __init__(self, database: Database | None = None) -> None:
        self._open(database)

    def _open(self, database: Database | None) -> None:
        if database is None:
            database = connect(settings.settings())
            check(database)
        self._database = database
        self._histories: dict[int, History] = {}
        self._directions: dict[int, list[StudyDirection]] = {}  # they never change
        self._open_trials: dict[int, _OpenTrial] = {}  # that this process made or writes
        self._reported: dict[int, dict[int, float]] = {}  # step → value, of open trials
        self._space_ids: dict[tuple[int, _Key], int] = {}  # by study
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {"url": None if self._database.is_embedded else self._database.url}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._open(None if state["url"] is None else Database(state["url"]))

    # Studies

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        name = _UNNAMED + str(uuid.uuid4()) if study_name is None else _storable(study_name)
        try:
            with self._database.transaction() as connection:
                return studies.create(connection, name, [our_direction(d) for d in directions])
        except StudyExistsError as error:
            raise DuplicatedStudyError(str(error)) from None

    def set_budget(self, study_id: int, trials: int) -> None:
        """Let a study have so many trials in all, those that it has among them.

        One that has finished goes on if that is more. BadInputError where a study file says it.
        """
        with self._translating_errors(), self._database.transaction() as connection:
            study = studies.by_id(connection, study_id)
            if study.max_trials == trials:
                return
            if study.spec is not None:
                raise BadInputError(
                    f"the study {quoted(study.name)} has a budget of {study.max_trials} trials: "
                    f"`{shell.command('change', study.name, f'budget.trials={trials}')}` changes it"
                )
            study_limits.set_limits(connection, study_id, Limits(max_trials=trials), None)
            lease = settings.settings().lease_seconds
            if serving.used_up(connection, study_id, lease=lease) is None:
                studies.set_state(
                    connection, study_id, StudyState.ACTIVE, allowed=[StudyState.FINISHED]
                )

    def left_waiting(self, study_id: int) -> list[str]:
        """A note where configurations are queued that the study's budget does not reach."""
        with self._translating_errors(), self._database.statement() as connection:
            return refusals.notes_on_queue(connection, studies.by_id(connection, study_id))

    def delete_study(self, study_id: int) -> None:
        with self._translating_errors(), self._database.transaction() as connection:
            studies.delete(connection, study_id)
        with self._lock:
            self._histories.pop(study_id, None)
            self._directions.pop(study_id, None)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._set_study_attribute(study_id, "user_attrs", key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._set_study_attribute(study_id, "system_attrs", key, value)

    def _set_study_attribute(self, study_id: int, column: str, key: str, value: Any) -> None:
        with self._translating_errors(), self._database.transaction() as connection:
            studies.set_attribute(connection, study_id, column, _storable(key), value)

    def get_study_id_from_name(self, study_name: str) -> int:
        with self._translating_errors(), self._database.statement() as connection:
            return studies.by_name(connection, study_name).id

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._study(study_id).name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        if study_id not in self._directions:
            directions = self._study(study_id).directions
            self._directions[study_id] = [optuna_direction(d) for d in directions]
        return self._directions[study_id]

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return dict(self._study(study_id).user_attrs)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return dict(self._study(study_id).system_attrs)

    def get_all_studies(self) -> list[FrozenStudy]:
        with self._database.statement() as connection:
            stored = studies.list_all(connection)
        return [
            FrozenStudy(
                study_name=study.name,
                direction=None,
                directions=[optuna_direction(d) for d in study.directions],
                user_attrs=dict(study.user_attrs),
                system_attrs=dict(study.system_attrs),
                study_id=study.id,
            )
            for study in stored
        ]

    def _study(self, study_id: int) -> Study:
        with self._translating_errors(), self._database.statement() as connection:
            return studies.by_id(connection, study_id)

    # Trials

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        if template_trial is None:
            with self._database.statement() as connection:
                trial_id = writes.create(
                    connection, study_id, convert.OUR_STATE[OptunaState.RUNNING], starts_now=True
                )
        else:
            with self._database.transaction() as connection:
                trial_id = self._copy(connection, study_id, template_trial)
        if trial_id is None:
            raise self._refusal(study_id)
        if template_trial is None:
            self._open_trials[trial_id] = _OpenTrial(study_id, None, {})
        return trial_id

    def _refusal(self, study_id: int) -> StudyClosedError:
        """Why a study gave no trial; one that has nothing left and of which nothing runs ends."""
        lease = settings.settings().lease_seconds
        with self._translating_errors(), self._database.statement() as connection:
            serving.finish_if_done(connection, [study_id], lease=lease)
            study = studies.by_id(connection, study_id)
            return StudyClosedError(refusals.explain_no_trial(connection, study, lease=lease))

    def _copy(self, connection: Connection, study_id: int, template: FrozenTrial) -> int | None:
        system_attrs = dict(template.system_attrs)
        if template.state is OptunaState.WAITING and system_attrs.get(_ENQUEUED):
            with self._translating_errors():
                study = studies.by_id(connection, study_id)
            if study.spec is not None:  # what workers try next lies in the space of the study file
                space = ResolvedSpec.from_json(study.spec).space
                system_attrs[_ENQUEUED] = fit_configuration(space, plain(system_attrs[_ENQUEUED]))
        return writes.create(
            connection,
            study_id,
            convert.OUR_STATE[template.state],
            params=convert.internal(template.params, template.distributions),
            distributions=convert.as_json(template.distributions),
            values=template.values,
            reports=template.intermediate_values,
            user_attrs=template.user_attrs,
            system_attrs=system_attrs,
            started_at=convert.aware(template.datetime_start),
            finished_at=convert.aware(template.datetime_complete),
        )

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        param_value_internal = convert.canonical(param_value_internal, distribution)
        stored = self._open_trials.get(trial_id)
        if stored is not None:
            after = {**stored.params, param_name: (distribution, param_value_internal)}
            space = self._space_ids.get((stored.study_id, _key(after)))
            if space is not None:  # so its distributions are compatible with the study's
                with self._database.statement() as connection:
                    if writes.add_param(
                        connection,
                        trial_id,
                        known=(stored.space_id, _values(stored.params)),
                        space=space,
                        params=_values(after),
                    ):
                        self._open_trials[trial_id] = _OpenTrial(stored.study_id, space, after)
                        return
        self._set_first_param(trial_id, param_name, param_value_internal, distribution)

    def _set_first_param(
        self, trial_id: int, name: str, value: float, distribution: BaseDistribution
    ) -> None:
        """Set a parameter of a trial of which this process does not know everything."""
        with self._database.transaction() as connection:
            locked = self._lock_for_write(connection, trial_id)
            before = writes.study_distributions(connection, locked.study_id).get(name)
            if before is not None:
                check_distribution_compatibility(
                    convert.from_json([(name, before)])[name], distribution
                )
            distributions = convert.from_json(locked.distributions)
            pairs = zip(distributions.values(), locked.params, strict=True)
            after = dict(zip(distributions, pairs, strict=True))
            after[name] = (distribution, value)
            space = writes.set_params(
                connection,
                locked,
                convert.as_json({n: d for n, (d, _) in after.items()}),
                _values(after),
            )
        self._space_ids[locked.study_id, _key(after)] = space
        self._open_trials[trial_id] = _OpenTrial(locked.study_id, space, after)

    def set_trial_state_values(
        self, trial_id: int, state: OptunaState, values: Sequence[float] | None = None
    ) -> bool:
        ours = convert.OUR_STATE[state]
        with self._database.statement() as connection:
            if ours.is_finished:
                stored = self._open_trials.get(trial_id)
                ended = writes.end(
                    connection,
                    trial_id,
                    ours,
                    values,
                    space=None if stored is None else stored.space_id,
                    params=() if stored is None else _values(stored.params),
                    reports=self._reported.get(trial_id, {}),
                )
                finished = ended is not None
            elif ours is TrialState.RUNNING:  # the first process takes it, if the study gives one
                finished = writes.start(connection, trial_id)
            else:
                finished = writes.requeue(connection, trial_id)
            if not finished:
                self._check_open(connection, trial_id)
        if ours.is_finished:
            self._open_trials.pop(trial_id, None)
            self._reported.pop(trial_id, None)
            if ended is not None and ended.may_be_done:
                self._finish_if_done(ended.study_id)
        return finished

    def _finish_if_done(self, study_id: int) -> None:
        """End a study that has reached its target or nothing left, as a worker would."""
        with self._translating_errors(), self._database.statement() as connection:
            study = studies.by_id(connection, study_id)
            if study.spec is not None:
                budget = ResolvedSpec.from_json(study.spec).budget
                reached = Ending(budget, study.direction)
                if reached.is_possible:
                    for trial in self.get_all_trials(study_id, deepcopy=False):
                        state = convert.OUR_STATE[trial.state]
                        at = convert.aware(trial.datetime_complete)
                        reached.take(trial.number, state, trial.values, at)
                if (reason := reached.reason()) is not None:
                    active = [StudyState.ACTIVE]
                    finished = StudyState.FINISHED
                    studies.set_state(connection, study_id, finished, allowed=active, reason=reason)
            lease = settings.settings().lease_seconds
            serving.finish_if_done(connection, [study_id], lease=lease)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        with self._database.statement() as connection:
            if not writes.report(connection, trial_id, step, intermediate_value):
                self._check_open(connection, trial_id)
        if trial_id in self._open_trials:
            self._reported.setdefault(trial_id, {})[step] = float(intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._set_trial_attribute(trial_id, "user_attrs", key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._set_trial_attribute(trial_id, "system_attrs", key, value)

    def _set_trial_attribute(self, trial_id: int, column: str, key: str, value: Any) -> None:
        with self._database.statement() as connection:
            if not writes.set_attribute(connection, trial_id, column, _storable(key), value):
                self._check_open(connection, trial_id)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        with self._database.statement() as connection:
            trial = feed.load_row(connection, trial_id)
        if trial is None:
            raise KeyError(f"there is no trial with the id {trial_id}")
        row, stored = trial
        return convert.frozen(row, convert.from_json(stored))

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[OptunaState] | None = None,
    ) -> list[FrozenTrial]:
        with self._lock:
            history = self._histories.setdefault(study_id, History(study_id, with_attributes=True))
            with self._translating_errors(), self._database.statement() as connection:
                history.refresh(connection)
            trials = [t for t in history.trials if states is None or t.state in states]
        return [_copied(trial) for trial in trials] if deepcopy else trials

    def _lock_for_write(self, connection: Connection, trial_id: int) -> writes.LockedTrial:
        locked = writes.lock(connection, trial_id)
        if locked is None or locked.state.is_finished:
            self._check_open(connection, trial_id)
        assert locked is not None
        return locked

    @staticmethod
    def _check_open(connection: Connection, trial_id: int) -> None:
        """Say why a write found no open trial."""
        state = writes.state_of(connection, trial_id)
        if state is None:
            raise KeyError(f"there is no trial with the id {trial_id}")
        if state.is_finished:
            raise UpdateFinishedTrialError(
                f"the trial with the id {trial_id} is {state} and cannot be changed"
            )

    @staticmethod
    @contextmanager
    def _translating_errors() -> Any:
        """Optuna's storages say KeyError where a study is not there."""
        try:
            yield
        except StudyNotFoundError as error:
            raise KeyError(str(error)) from None


def _storable(name: str) -> str:
    """The name; Optuna's users expect a ValueError where a storage cannot hold it."""
    for _ in attributes.unstorable([name]):
        raise ValueError(
            f"PostgreSQL cannot store the name {name!r}: names hold neither NUL nor half of a "
            "surrogate pair"
        )
    return name


def _copied(trial: FrozenTrial) -> FrozenTrial:
    """A copy that its user may change; values and distributions never change themselves."""
    return FrozenTrial(
        trial.number,
        trial.state,
        None,
        trial.datetime_start,
        trial.datetime_complete,
        dict(trial.params),
        dict(trial.distributions),
        copy.deepcopy(trial.user_attrs) if trial.user_attrs else {},
        copy.deepcopy(trial.system_attrs) if trial.system_attrs else {},
        dict(trial.intermediate_values),
        trial._trial_id,
        values=trial.values,
    )
