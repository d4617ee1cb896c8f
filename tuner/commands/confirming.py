"""Confirming the winner of a study: its leading configurations are trained again with fresh seeds.

A confirmation is a study of its own, `NAME-confirm`: the same family, data and training, of which
every trial is one of the leading configurations with one of the shared seeds. So any worker trains
them, an interrupted confirmation goes on, and the sampler of the study never sees them. What it has
shown is kept with the study, where exports find it.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tuner import shell
from tuner.commands import reading, sources, steering
from tuner.database import studies, study_limits, trials
from tuner.database.engine import Database
from tuner.errors import BadInputError, StudyNotFoundError, TunerError
from tuner.settings import Settings
from tuner.study_file.messages import quoted
from tuner.study_file.resolved import ResolvedSpec, differences
from tuner.study_file.seeds import derived_seed
from tuner.study_file.study import NAME_LENGTH, Confirm
from tuner.trials import Study, StudyState, Trial, TrialState
from tuner.winner import elimination
from tuner.winner.confirmations import ATTRIBUTE
from tuner.winner.elimination import Candidate, Verdict
from tuner.winner.expense import expense_of, is_cheaper

# Attribute of a confirming study: its trial → the study's trial and which of the shared seeds.
# Trials of a former version, which gave each a seed of its own, are not in it.
REPEATS = "tuner:repeats"
SUFFIX = "-confirm"


class Confirmation:
    """The leading configurations of a study, trained again with fresh seeds, round by round."""

    def __init__(
        self, database: Database, settings: Settings, study: Study, request: Confirm
    ) -> None:
        """BadInputError where the study cannot be trained again; NothingToExportError without any.

        Of several objectives the candidates are those of the Pareto front that lead in the first
        one, which alone is judged.
        """
        if study.spec is None:
            raise BadInputError(
                f"the study {quoted(study.name)} was made through Optuna: tuner cannot train it"
            )
        if REPEATS in study.user_attrs:
            raise BadInputError(
                f"the study {quoted(study.name)} is a confirmation itself: for more seeds, run "
                "`tuner confirm` with the name of the study that it confirms"
            )
        if study.state is StudyState.ACTIVE:
            raise BadInputError(
                f"the study {quoted(study.name)} is active: its best may still change; confirm it "
                f"when it has finished, or after `{shell.command('stop', study.name)}`"
            )
        self._database = database
        self._settings = settings
        self._of = study
        self._request = request
        several = len(study.directions) > 1
        reading.load_best(database, study)  # raises if there is none
        self._out: set[int] = set()
        self.study = _companion(database, study)
        # asked for fewer candidates than before, it still knows what the others have shown
        self._leading = reading.load_leading(
            database,
            study,
            request.top,
            front=several,
            also={number for number, _ in _repeats(self.study).values()},
        )
        # asked for fewer seeds than before, it judges by all that there are
        self._seeds = max(request.seeds, self._trained())
        self._rounds = elimination.rounds(self._seeds)

    def run(
        self, work: Callable[[Study], bool], on_round: Callable[[int, Verdict], None]
    ) -> Verdict | None:
        """Have everything trained that is missing, judge and keep it; None where interrupted.

        `work` trains a study to its end and returns whether the user interrupted it; `on_round`
        hears of each round. TunerError where the trainings did not come to their end.
        """
        verdict: Verdict | None = None
        for seeds in self._rounds:
            while self._queue(seeds):
                if work(self.study):
                    self.pause()
                    return None
                self._refuse_unfinished()
            verdict = self._judge(seeds)
            if verdict is not None:
                on_round(seeds, verdict)
        if verdict is None:
            raise TunerError(
                f"no configuration gave two values with {self._seeds} fresh seeds, so nothing is "
                f"confirmed; `{shell.command('show', self.study.name)}` says what went wrong"
            )
        self._keep(verdict)
        return verdict

    def _queue(self, seeds: int) -> bool:
        """Queue what those that are not out lack of so many trainings; whether any are open."""
        known = reading.load_trials(self._database, self.study)
        repeats = _repeats(self.study)
        had = set(repeats.values())
        missing = [
            (trial, seed)
            for seed in range(seeds)
            for trial in self._leading
            if trial.number not in self._out and (trial.number, seed) not in had
        ]
        is_open = bool(missing) or any(not trial.state.is_finished for trial in known)
        if is_open:
            # a worker would let the study wait for ever for its code, and fail with other data
            sources.check_sources(self._settings, self._of)
            self._enqueue(missing, known, repeats)
        self.study = reading.find(self._database, self.study.name)
        return is_open

    def _enqueue(
        self,
        missing: Sequence[tuple[Trial, int]],
        known: Sequence[Trial],
        repeats: Mapping[int, tuple[int, int]],
    ) -> None:
        spec = ResolvedSpec.from_json(self.study.spec or {})
        with self._database.transaction() as connection:
            issued = studies.by_id(connection, self.study.id).issued
            waiting = sum(t.state is TrialState.WAITING and t.attempt == 0 for t in known)
            budget = spec.budget.model_copy(
                update={"trials": max(issued + waiting + len(missing), 1)}
            )
            spec = spec.model_copy(update={"budget": budget})
            study_limits.set_limits(connection, self.study.id, spec.limits, spec.as_json())
            queued = {
                trials.enqueue(
                    connection,
                    self.study.id,
                    trial.params,
                    seed=derived_seed(spec.seed, "shared", seed),
                ): (trial.number, seed)
                for trial, seed in missing
            }
            studies.set_attribute(
                connection, self.study.id, "user_attrs", REPEATS,
                {str(number): list(repeat) for number, repeat in {**repeats, **queued}.items()},
            )  # fmt: skip
            ended = [StudyState.FINISHED, StudyState.PAUSED, StudyState.STOPPED]
            studies.set_state(connection, self.study.id, StudyState.ACTIVE, allowed=ended)

    def pause(self) -> None:
        """Leave nothing active behind, unless workers elsewhere go on with it."""
        overview = reading.load_overview(self._database, self.study.name)
        is_idle = not overview.counts[TrialState.RUNNING]
        if overview.study.state is StudyState.ACTIVE and is_idle:
            steering.pause(self._database, self.study.name)

    def _refuse_unfinished(self) -> None:
        study = reading.find(self._database, self.study.name)
        if study.state is StudyState.ACTIVE:
            raise TunerError(
                f"the confirmation {quoted(study.name)} is active, and this machine's worker does "
                "not serve it (see `resources.labels`); run the command again when workers "
                "elsewhere have trained it"
            )
        if study.state is not StudyState.FINISHED:
            raise TunerError(
                f"the confirmation {quoted(study.name)} is {study.state} "
                f"({study.reason or 'no reason'}); run the command again to go on"
            )

    def _trained(self) -> int:
        """With how many seeds any of the configurations has been trained."""
        known = reading.load_trials(self._database, self.study)
        repeats = _repeats(self.study)
        leading = {trial.number for trial in self._leading}
        done = [repeats[t.number] for t in known if t.state.is_finished and t.number in repeats]
        return max((seed + 1 for number, seed in done if number in leading), default=0)

    def _judge(self, seeds: int) -> Verdict | None:
        known = reading.load_trials(self._database, self.study)
        repeats = _repeats(self.study)
        verdict = elimination.judge(
            [_candidate(trial, known, repeats, seeds) for trial in self._leading],
            self._of.direction,
            rounds=len(self._rounds),
            margin=self._request.margin,
            out=self._out,
        )
        if verdict is not None:
            self._out |= {candidate.number for candidate in verdict.dropped}
        return verdict

    def _keep(self, verdict: Verdict) -> None:
        """Store with the study what the last round has shown, where exports find it."""
        record = {
            "at": datetime.now(UTC).date().isoformat(),
            "study": self.study.name,
            "winner": verdict.winner.number,
            "best_mean": verdict.leader.number,
            "seeds": verdict.seeds,
            "margin": verdict.margin,
            "margin_given": self._request.margin is not None,
            "bound": verdict.bound,
            "candidates": [
                self._record(candidate, verdict)
                for candidate in (*verdict.ranked, *verdict.dropped)
            ],
        }
        with self._database.transaction() as connection:
            studies.set_attribute(connection, self._of.id, "user_attrs", ATTRIBUTE, record)

    def _record(self, candidate: Candidate, verdict: Verdict) -> dict[str, Any]:
        sign = 1.0 if self._of.direction == "maximize" else -1.0
        has_values = bool(candidate.by_seed)
        return {
            "number": candidate.number,
            "params": dict(candidate.params),
            "searched": candidate.searched,
            "values": list(candidate.values),
            "failed": candidate.failed,
            "seconds": candidate.expense.seconds,
            "mean": candidate.mean if has_values else None,
            "interval": candidate.interval(self._of.metric),
            "overstated_by": sign * (candidate.searched - candidate.mean) if has_values else None,
            "standing": verdict.standings[candidate.number],
            "cheaper": is_cheaper(candidate.expense, verdict.leader.expense),
        }


def _companion(database: Database, study: Study) -> Study:
    """The study that confirms another one, made where it is not there yet.

    BadInputError where a study of its name is another one.
    """
    spec = ResolvedSpec.from_json(study.spec or {})
    name = f"{study.name[: NAME_LENGTH - len(SUFFIX)]}{SUFFIX}"
    confirming = spec.model_copy(
        update={
            "name": name,
            "budget": type(spec.budget)(
                trials=1, epochs=spec.budget.epochs, max_failures=_max_failures(spec)
            ),
            "pruner": spec.pruner.model_copy(update={"name": "none"}),
            "sampler": spec.sampler.model_copy(update={"name": "random"}),
            "training": spec.training.model_copy(update={"seed": None}),
            "confirm": None,
            "seed": derived_seed(spec.seed, "confirm"),
            "enqueue": (),
        }
    )
    try:
        existing = reading.find(database, name)
    except StudyNotFoundError:
        with database.transaction() as connection:
            study_id = studies.create(
                connection,
                name,
                study.directions,
                metrics=study.metrics,
                family=study.family,
                spec=confirming.as_json(),
                fingerprint=study.data_fingerprint,
                limits=confirming.limits,
            )
            studies.set_state(connection, study_id, StudyState.PAUSED, allowed=[StudyState.ACTIVE])
            return studies.by_id(connection, study_id)
    other = existing.data_fingerprint != study.data_fingerprint or existing.spec is None
    if other or differences(
        ResolvedSpec.from_json(existing.spec or {}), confirming, ignore=["budget", "resources"]
    ):
        raise BadInputError(
            f"a study named {quoted(name)} exists and does not confirm {quoted(study.name)}: "
            "delete it, or the one that it was made for has changed"
        )
    return existing


def _max_failures(spec: ResolvedSpec) -> int:
    """After how many failures in a row a confirmation pauses.

    By default a study of own code pauses as soon as its first two trials fail alike, which no
    larger limit does. Here the code has worked, and such failures are those of a configuration.
    """
    limit = spec.budget.max_failures
    default = type(spec.budget).model_fields["max_failures"].default
    return limit + 1 if limit == default else limit


def _repeats(study: Study) -> dict[int, tuple[int, int]]:
    """Trial of the confirming study → the trial that it repeats, and which of the shared seeds."""
    stored: Mapping[str, Sequence[int]] = study.user_attrs.get(REPEATS, {})
    return {int(number): (of, seed) for number, (of, seed) in stored.items()}


def _candidate(
    trial: Trial, known: Collection[Trial], repeats: Mapping[int, tuple[int, int]], seeds: int
) -> Candidate:
    """What the first `seeds` have made of a trial: a round is judged again as it was at first."""
    of_trial = {number for number, (of, s) in repeats.items() if of == trial.number and s < seeds}
    mine = [t for t in known if t.number in of_trial]
    complete = [t for t in mine if t.state is TrialState.COMPLETE and t.value is not None]
    finite = [t for t in complete if math.isfinite(t.value or 0.0)]
    assert trial.value is not None
    return Candidate(
        number=trial.number,
        params=dict(trial.params),
        searched=trial.value,
        by_seed={repeats[t.number][1]: t.value for t in finite if t.value is not None},
        failed=sum(t.state is TrialState.FAILED for t in mine) + len(complete) - len(finite),
        expense=expense_of(finite),
    )
