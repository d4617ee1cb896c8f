"""Confirm the winner of a study: train its leading configurations again with fresh seeds.

A confirmation is a study of its own, `NAME-confirm`, with the same family, data and training. Each
of its trials is one of the leading configurations with one of the shared seeds. So any worker can
train them, an interrupted confirmation resumes, and the study's sampler never sees them. The result
is stored with the study, where exports find it.
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
from tuner.origin import Origin, OriginKind
from tuner.settings import Settings
from tuner.study_file import constraints
from tuner.study_file.messages import quoted
from tuner.study_file.resolved import ResolvedSpec, differences
from tuner.study_file.seeds import derived_seed
from tuner.study_file.study import NAME_LENGTH, Confirm, Pruner, Sampler
from tuner.trials import Study, StudyState, Trial, TrialState
from tuner.winner import elimination, feasibility
from tuner.winner.confirmations import ATTRIBUTE
from tuner.winner.elimination import Candidate, Verdict
from tuner.winner.expense import is_cheaper, measure_expense

# Attribute of a confirmation: its trial → the confirmed study's trial, index of the shared seed.
# Trials of a former version, which gave each trial a seed of its own, are not in it.
REPEATS = "tuner:repeats"
SUFFIX = "-confirm"


class Confirmation:
    """The leading configurations of a study, trained again with fresh seeds, round by round."""

    def __init__(
        self, database: Database, settings: Settings, study: Study, request: Confirm
    ) -> None:
        """Find or create the confirmation of a study.

        With several objectives, the candidates are the trials of the Pareto front that lead in the
        first one, and only that is judged. BadInputError if the study cannot be trained again;
        NothingToExportError if it has no complete trial.
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
        self._study = study
        self._request = request
        several = len(study.directions) > 1
        reading.load_best(database, study)  # raises if there is none
        self._dropped: set[int] = set()
        self._bounds = constraints.names(feasibility.read_bounds(study))
        self.study = _find_or_create_companion(database, study)
        # includes candidates of earlier, larger requests: their trainings still count
        self._leading = reading.load_leading(
            database,
            study,
            request.top,
            front=several,
            also={number for number, _ in _repeats(self.study).values()},
        )
        # a request for fewer seeds than before is judged by all that exist
        self._seeds = max(request.seeds, self._count_trained_seeds())
        self._rounds = elimination.rounds(self._seeds)

    def run(
        self, work: Callable[[Study], bool], on_round: Callable[[int, Verdict], None]
    ) -> Verdict | None:
        """Train what is missing, judge round by round and store the result; None if interrupted.

        `work` trains a study to its end and returns whether the user interrupted it; `on_round` is
        called after each round. TunerError if the trainings did not reach their end.
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
        self._store(verdict)
        return verdict

    def _queue(self, seeds: int) -> bool:
        """Queue missing trainings of remaining candidates; returns whether any are open."""
        trials = reading.load_trials(self._database, self.study)
        repeats = _repeats(self.study)
        queued = set(repeats.values())
        missing = [
            (trial, seed)
            for seed in range(seeds)
            for trial in self._leading
            if trial.number not in self._dropped and (trial.number, seed) not in queued
        ]
        is_open = bool(missing) or any(not trial.state.is_finished for trial in trials)
        if is_open:
            # changed code would make the study wait for ever, changed data make its trials fail
            sources.check_sources(self._settings, self._study)
            self._enqueue(missing, trials, repeats)
        self.study = reading.find(self._database, self.study.name)
        return is_open

    def _enqueue(
        self,
        missing: Sequence[tuple[Trial, int]],
        existing: Sequence[Trial],
        repeats: Mapping[int, tuple[int, int]],
    ) -> None:
        spec = ResolvedSpec.from_json(self.study.spec or {})
        with self._database.transaction() as connection:
            issued = studies.by_id(connection, self.study.id).issued
            waiting = sum(t.state is TrialState.WAITING and t.attempt == 0 for t in existing)
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
                    origin=Origin(
                        kind=OriginKind.REPEATED, study=self._study.name, trial=trial.number
                    ),
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
        """Pause the confirmation, unless workers elsewhere run trials of it."""
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

    def _count_trained_seeds(self) -> int:
        """Count the seeds with which some configuration has been trained."""
        trials = reading.load_trials(self._database, self.study)
        repeats = _repeats(self.study)
        leading = {trial.number for trial in self._leading}
        ended = [repeats[t.number] for t in trials if t.state.is_finished and t.number in repeats]
        return max((seed + 1 for number, seed in ended if number in leading), default=0)

    def _judge(self, seeds: int) -> Verdict | None:
        trainings = reading.load_trials(self._database, self.study)
        repeats = _repeats(self.study)
        verdict = elimination.judge(
            [_candidate(trial, trainings, repeats, seeds) for trial in self._leading],
            self._study.direction,
            rounds=len(self._rounds),
            margin=self._request.margin,
            dropped=self._dropped,
        )
        if verdict is not None:
            self._dropped |= {candidate.number for candidate in verdict.dropped}
        return verdict

    def _store(self, verdict: Verdict) -> None:
        """Store the verdict of the last round with the study, where exports find it."""
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
                for candidate in (*verdict.ranked, *verdict.infeasible, *verdict.dropped)
            ],
        }
        with self._database.transaction() as connection:
            studies.set_attribute(connection, self._study.id, "user_attrs", ATTRIBUTE, record)

    def _record(self, candidate: Candidate, verdict: Verdict) -> dict[str, Any]:
        sign = 1.0 if self._study.direction == "maximize" else -1.0
        has_values = bool(candidate.by_seed)
        return {
            "number": candidate.number,
            "params": dict(candidate.params),
            "searched": candidate.searched,
            "values": list(candidate.values),
            "failed": candidate.failed,
            "seconds": candidate.expense.seconds,
            "mean": candidate.mean if has_values else None,
            "interval": candidate.interval(self._study.metric),
            "overstated_by": sign * (candidate.searched - candidate.mean) if has_values else None,
            "standing": verdict.standings[candidate.number],
            "cheaper": is_cheaper(candidate.expense, verdict.leader.expense),
            "constraints": [
                {
                    "name": name,
                    "mean": elimination.mean(values),
                    "interval": candidate.constraint_interval(name),
                    "is_share": name in self._bounds,
                }
                for name, values in candidate.constraints.items()
                if values and all(map(math.isfinite, values))
            ],
        }


def _find_or_create_companion(database: Database, study: Study) -> Study:
    """Find or create the study that confirms another one.

    BadInputError if its name is taken by a study that does not.
    """
    spec = ResolvedSpec.from_json(study.spec or {})
    name = f"{study.name[: NAME_LENGTH - len(SUFFIX)]}{SUFFIX}"
    confirming = spec.model_copy(
        update={
            "name": name,
            "budget": type(spec.budget)(
                trials=1,
                epochs=spec.budget.epochs,
                max_failures=_max_failures(spec),
                fidelity=spec.budget.whole_fidelity if spec.code else None,
            ),
            "pruner": Pruner(name="none"),
            "sampler": Sampler(name="random", repeat=spec.sampler.repeat),
            "classes": {},
            "learn_from": (),
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
            f"a study named {quoted(name)} exists and does not confirm {quoted(study.name)} as it "
            "is now: delete it, then confirm again"
        )
    return existing


def _max_failures(spec: ResolvedSpec) -> int:
    """The number of failures in a row after which a confirmation pauses.

    With the default limit, a study of user code pauses as soon as its first two trials fail alike;
    with a larger one it does not. Here the code has worked, so such failures are a configuration's.
    """
    limit = spec.budget.max_failures
    default = type(spec.budget).model_fields["max_failures"].default
    return limit + 1 if limit == default else limit


def _repeats(study: Study) -> dict[int, tuple[int, int]]:
    """Trial of the confirmation → the trial that it repeats, and the index of the shared seed."""
    stored: Mapping[str, Sequence[int]] = study.user_attrs.get(REPEATS, {})
    return {int(number): (of, seed) for number, (of, seed) in stored.items()}


def _candidate(
    trial: Trial, trainings: Collection[Trial], repeats: Mapping[int, tuple[int, int]], seeds: int
) -> Candidate:
    """Collect a trial's trainings with the first `seeds`, so rounds are judged as they were."""
    of_trial = {number for number, (of, s) in repeats.items() if of == trial.number and s < seeds}
    repeated = [t for t in trainings if t.number in of_trial]
    complete = [t for t in repeated if t.state is TrialState.COMPLETE and t.value is not None]
    finite = [t for t in complete if math.isfinite(t.value or 0.0)]
    assert trial.value is not None
    names = dict.fromkeys(name for t in finite for name in t.constraints)
    return Candidate(
        number=trial.number,
        params=dict(trial.params),
        searched=trial.value,
        by_seed={repeats[t.number][1]: t.value for t in finite if t.value is not None},
        failed=sum(t.state is TrialState.FAILED for t in repeated) + len(complete) - len(finite),
        expense=measure_expense(finite),
        constraints={
            name: tuple(t.constraints[name] for t in finite if name in t.constraints)
            for name in names
        },
    )
