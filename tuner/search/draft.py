"""Sampling before anything is written: Optuna draws a trial's parameters against a storage that
reads this process's history and keeps the trial being drawn in memory.

So the claim can insert the trial together with its parameters in one statement, and a refused draw
(forbidden, tried before) costs no query.
"""

import copy
from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy  # the type that BaseStorage promises
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from tuner.database.attributes import INFEASIBLE
from tuner.search.directions import optuna_direction
from tuner.search.history import History
from tuner.search.sample import Sample
from tuner.study_file.parameters import FixedParameter, canonical
from tuner.study_file.space import Space
from tuner.trials import Direction, ParamValue

_STUDY_ID = 0
_DRAFT_ID = -1


class DraftStorage(BaseStorage):
    """Reads the history; holds one trial, the draft, which is never in the history."""

    def __init__(
        self, history: History, directions: Sequence[Direction], sample: Sample | None = None
    ) -> None:
        """`sample` limits what the sampler sees of a long history."""
        self._history = history
        self._sample = sample
        self._directions = [optuna_direction(d) for d in directions]
        self._draft: FrozenTrial | None = None
        self._paused: dict[int, tuple[FrozenTrial, FrozenTrial]] = {}  # as known, and as shown
        self._attrs: dict[str, Any] = {}

    def begin(self, number: int, fixed_params: Mapping[str, Any]) -> int:
        """Start a draft of trial `number`, some of whose parameters may be fixed."""
        self._draft = FrozenTrial(
            trial_id=_DRAFT_ID,
            number=number,
            state=OptunaState.RUNNING,
            value=None,
            datetime_start=datetime.now(),
            datetime_complete=None,
            params={},
            distributions={},
            user_attrs={},
            system_attrs={"fixed_params": dict(fixed_params)} if fixed_params else {},
            intermediate_values={},
        )
        return _DRAFT_ID

    def get_study_id_from_name(self, study_name: str) -> int:
        return _STUDY_ID

    def get_study_name_from_id(self, study_id: int) -> str:
        return "draft"

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return {}

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._attrs

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._attrs = {**self._attrs, key: value}

    def get_trial(self, trial_id: int) -> FrozenTrial:
        assert self._draft is not None
        assert trial_id == _DRAFT_ID
        return self._draft

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[OptunaState] | None = None,
    ) -> list[FrozenTrial]:
        # samplers ask without deepcopy and do not modify what they get
        sample = self._sample
        if sample is None:
            trials = list(self._history.trials)
        else:
            trials = [
                _infeasible(trial) if self._is_to_avoid(trial, sample) else self._shown(trial)
                for trial in self._history.select(sample.numbers())
            ]
        return trials if states is None else [t for t in trials if t.state in states]

    def _is_to_avoid(self, trial: FrozenTrial, sample: Sample) -> bool:
        """Whether a sampler could not read it otherwise: it failed, or Optuna itself has pruned it.

        Of several objectives, samplers cannot compare the reports of pruned trials; those that a
        worker has pruned say so themselves.
        """
        is_pruned = trial.state is OptunaState.PRUNED and len(self._directions) > 1
        return trial.number in sample.infeasible or (is_pruned and not trial.constraints)

    def _shown(self, trial: FrozenTrial) -> FrozenTrial:
        """Show a paused trial as one that was pruned: samplers skip those that wait."""
        if trial.state is not OptunaState.WAITING:
            return trial
        known, shown = self._paused.get(trial.number, (None, trial))
        if known is not trial:
            shown = copy.copy(trial)
            shown.state = OptunaState.PRUNED
            self._paused[trial.number] = trial, shown
        return shown

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Nothing to do: Optuna's `Trial` notes the parameter in the draft itself."""

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.get_trial(trial_id).system_attrs[key] = value

    # A draft is only drawn; every other write would be lost and so is a bug.

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a draft is only drawn, not run")

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        self._refuse()

    def delete_study(self, study_id: int) -> None:
        self._refuse()

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._refuse()

    def get_all_studies(self) -> list[FrozenStudy]:
        self._refuse()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        self._refuse()

    def set_trial_state_values(
        self, trial_id: int, state: OptunaState, values: Sequence[float] | None = None
    ) -> bool:
        self._refuse()

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        self._refuse()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._refuse()


def _infeasible(trial: FrozenTrial) -> FrozenTrial:
    """Show a trial that failed because of its parameters in a form that makes samplers avoid it.

    Samplers skip failed trials, so it appears pruned and violates a constraint.
    """
    infeasible = copy.copy(trial)
    infeasible.state = OptunaState.PRUNED
    infeasible.system_attrs = {INFEASIBLE: 1.0}
    return infeasible


def study(storage: DraftStorage, sampler: BaseSampler) -> optuna.Study:
    """An Optuna study over the draft's storage."""
    return optuna.Study("draft", storage, sampler=sampler, pruner=optuna.pruners.NopPruner())


def suggest(
    trial: optuna.trial.Trial, space: Space, distributions: Mapping[str, BaseDistribution]
) -> dict[str, ParamValue]:
    """Have a trial's sampler choose all active parameters of a space, pinned ones included."""
    params: dict[str, ParamValue] = {}
    for name, parameter in space.parameters.items():
        if not space.is_active(name, params):
            continue
        if isinstance(parameter, FixedParameter):
            params[name] = parameter.value
        else:
            params[name] = canonical(trial._suggest(name, distributions[name]), parameter)
    return params
