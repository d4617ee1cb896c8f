"""The study as a sampler or pruner sees it that a study file names by its class."""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from tuner.origin import RAISED
from tuner.search.cells import searched
from tuner.search.draft import DraftStorage, suggest
from tuner.search.history import History
from tuner.search.plugins.messages import Begin, Judge, Judged, Propose, Proposed, TrialState
from tuner.study_file.space import Space
from tuner.training.causes import sentence
from tuner.trials import Direction, ParamValue

DRAWS = 20  # of a configuration that is allowed
_FIXED = "fixed_params"  # where Optuna keeps the parameters of `enqueue_trial`


class ViewStorage(DraftStorage):
    """Holds the trials that the worker has sent; a trial's id is its number."""

    def __init__(self, name: str, directions: Sequence[Direction]) -> None:
        super().__init__(History(0), directions)
        self._name = name
        self.trials: dict[int, FrozenTrial] = {}

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._name

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self.trials[trial_id]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Any = None
    ) -> list[FrozenTrial]:
        trials = [self.trials[number] for number in sorted(self.trials)]
        return trials if states is None else [t for t in trials if t.state in states]

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.get_trial(trial_id).user_attrs[key] = value

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        self.get_trial(trial_id).intermediate_values[step] = intermediate_value


class _Study(optuna.Study):
    """Remembers that a sampler wants to end it, as `GridSampler` does."""

    is_over = False

    def stop(self) -> None:
        """Take note of it."""
        self.is_over = True


class View:
    """One sampler or pruner with its study."""

    def __init__(self, begin: Begin, loaded: BaseSampler | BasePruner) -> None:
        self._space = Space.model_validate(begin.space)
        self._distributions = searched(self._space)
        self._seed = begin.seed
        self._storage = ViewStorage(begin.study, begin.directions)
        self._sampler = loaded if isinstance(loaded, BaseSampler) else None
        self._pruner = loaded if isinstance(loaded, BasePruner) else None
        self._study = _Study(begin.study, self._storage, self._sampler, self._pruner or NopPruner())

    def update(self, trial: TrialState) -> None:
        """Take over what the worker knows of a trial, beside what was set here."""
        before = self._storage.trials.get(trial.number)
        after = self._frozen(trial)
        if before is not None and before.state == OptunaState.RUNNING:
            after.system_attrs = {**before.system_attrs, **after.system_attrs}
            after.user_attrs = {**before.user_attrs, **after.user_attrs}
            after.intermediate_values = {**before.intermediate_values, **after.intermediate_values}
            if not after.params:
                after.params, after.distributions = before.params, before.distributions
        self._storage.trials[trial.number] = after
        has_ended = before is not None and not before.state.is_finished()
        if self._sampler is not None and has_ended and after.state.is_finished():
            with suppress(Exception), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._sampler.after_trial(self._study, after, after.state, after.values)

    def propose(self, request: Propose) -> Proposed:
        """Ask the sampler for a configuration."""
        assert self._sampler is not None
        problem = f"none of {DRAWS} draws was allowed"
        for _ in range(DRAWS):
            draft = self._draft(request)
            try:
                params = self._draw(draft)
            except Exception as error:
                problem = f"{RAISED} {sentence(error)}"
                break
            if not self._space.is_forbidden(params):
                attrs = {k: v for k, v in draft.system_attrs.items() if k != _FIXED}
                ours = {name: v for name, v in params.items() if name in self._distributions}
                return Proposed(request.number, ours, _plain(attrs), None, self._study.is_over)
        return Proposed(request.number, None, {}, problem, self._study.is_over)

    def _draft(self, request: Propose) -> FrozenTrial:
        known = self._storage.trials.get(request.number)
        attrs = {} if known is None else dict(known.system_attrs)
        if request.fixed:
            attrs[_FIXED] = request.fixed
        draft = self._frozen(
            TrialState(request.number, int(OptunaState.RUNNING), system_attrs=attrs)
        )
        draft.datetime_start = datetime.now()
        self._storage.trials[request.number] = draft
        return draft

    def _draw(self, draft: FrozenTrial) -> dict[str, ParamValue]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of options that are experimental
            trial = optuna.trial.Trial(self._study, draft._trial_id)
            return suggest(trial, self._space, self._distributions)

    def judge(self, request: Judge) -> Judged:
        """Ask the pruner about a report."""
        assert self._pruner is not None
        trial = self._storage.trials.get(request.number)
        if trial is None:
            trial = self._frozen(TrialState(request.number, int(OptunaState.RUNNING)))
            self._storage.trials[request.number] = trial
        trial.intermediate_values[request.step] = request.value
        before = dict(trial.system_attrs)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                prune = bool(self._pruner.prune(self._study, trial))
        except Exception as error:
            problem = f"the pruner raised {sentence(error)}"
            return Judged(request.number, request.step, False, {}, problem)
        attrs = {k: v for k, v in trial.system_attrs.items() if before.get(k, self) != v}
        return Judged(request.number, request.step, prune, _plain(attrs))

    def _frozen(self, trial: TrialState) -> FrozenTrial:
        distributions = {name: d for name, d in self._distributions.items() if name in trial.params}
        return FrozenTrial(
            trial_id=trial.number,
            number=trial.number,
            state=OptunaState(trial.state),
            value=None,
            values=trial.values,
            datetime_start=_local(trial.started),
            datetime_complete=_local(trial.ended),
            params={name: trial.params[name] for name in distributions},
            distributions=distributions,
            user_attrs=dict(trial.user_attrs),
            system_attrs=dict(trial.system_attrs),
            intermediate_values=dict(trial.reports),
        )


def _local(seconds: float | None) -> datetime | None:
    """Optuna's times are local and without a zone."""
    return None if seconds is None else datetime.fromtimestamp(seconds)


def _plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that JSON can hold; the others stay in this process."""
    return {key: value for key, value in attrs.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)
