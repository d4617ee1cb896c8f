"""Confirming the winner of a study: its leading configurations are trained again with fresh seeds.

A confirmation is a study of its own, `NAME-confirm`: the same family, data and training, of which
every trial is one of the leading configurations with a seed of its own. So any worker trains them,
an interrupted confirmation goes on, and the sampler of the study never sees them. What it has shown
is kept with the study, where exports find it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from tuner import commands
from tuner.database import studies, trials
from tuner.database.engine import Database
from tuner.errors import BadInputError, StudyNotFoundError
from tuner.spec.resolved import ResolvedSpec, differences
from tuner.spec.seeds import derived_seed
from tuner.spec.study import NAME_LENGTH
from tuner.spec.words import quoted
from tuner.trials import Study, StudyState, Trial, TrialState
from tuner.winner import choice
from tuner.winner.elimination import Candidate, Verdict, judged

CANDIDATES = "tuner:candidates"  # attribute of a confirming study: its trial → the study's trial
SUFFIX = "-confirm"
FIRST = 2  # seeds of each candidate in the first round: fewer have no spread


class Confirmation:
    """The leading configurations of a study, trained again with fresh seeds, round by round."""

    def __init__(self, database: Database, study: Study, top: int, seeds: int) -> None:
        """BadInputError where the study cannot be trained again; NothingToExportError without any.

        `top` configurations, each with `seeds` trainings at most, at least 2. Of several objectives
        they are those of the Pareto front that lead in the first one, which alone is judged.
        """
        if study.spec is None:
            raise BadInputError(
                f"the study {quoted(study.name)} was made through Optuna: tuner cannot train it"
            )
        if study.state is StudyState.ACTIVE:
            raise BadInputError(
                f"the study {quoted(study.name)} is active: its best may still change; confirm it "
                "when it has finished, or after `tuner stop`"
            )
        self._database = database
        self._of = study
        self._leading = choice.leading(database, study, top, front=len(study.directions) > 1)
        self._direction = study.direction
        self._seeds = seeds
        self.study = _companion(database, study)
        self._out: set[int] = set()

    def rounds(self) -> range:
        """How many trainings each configuration that is left shall have had, round by round."""
        return range(FIRST, self._seeds + 1)

    def queue(self, seeds: int) -> int:
        """Have those that are not out trained until each has `seeds` trials; how many are open.

        Those of an earlier confirmation count.
        """
        known = commands.load_trials(self._database, self.study)
        by_trial = _by_trial(self.study)
        left = [trial for trial in self._leading if trial.number not in self._out]
        had = [sum(of == trial.number for of in by_trial.values()) for trial in left]
        wanted = [
            trial for trial, count in zip(left, had, strict=True) for _ in range(seeds - count)
        ]
        open_ = len(wanted) + sum(not trial.state.is_finished for trial in known)
        if open_:
            self._enqueue(wanted, len(known), by_trial)
        self.study = commands.find(self._database, self.study.name)
        return open_

    def _enqueue(self, wanted: Sequence[Trial], known: int, by_trial: Mapping[int, int]) -> None:
        spec = ResolvedSpec.from_json(self.study.spec or {})
        budget = spec.budget.model_copy(update={"trials": known + len(wanted)})
        spec = spec.model_copy(update={"budget": budget})
        with self._database.transaction() as connection:
            studies.set_limits(connection, self.study.id, spec.limits, spec.as_json())
            made = {
                trials.enqueue(connection, self.study.id, trial.params): trial.number
                for trial in wanted
            }
            studies.set_attribute(
                connection, self.study.id, "user_attrs", CANDIDATES,
                {str(number): of for number, of in {**by_trial, **made}.items()},
            )  # fmt: skip
            ended = [StudyState.FINISHED, StudyState.PAUSED, StudyState.STOPPED]
            studies.set_state(connection, self.study.id, StudyState.ACTIVE, allowed=ended)

    def judge(self, seeds: int) -> Verdict | None:
        """Who is out after this round; None where nothing gave two values."""
        known = commands.load_trials(self._database, self.study)
        by_trial = _by_trial(self.study)
        verdict = judged(
            [_candidate(trial, known, by_trial) for trial in self._leading],
            self._direction,
            rounds=len(self.rounds()),
            is_last=seeds == self._seeds,
            out=self._out,
        )
        if verdict is not None:
            self._out |= {candidate.number for candidate in verdict.dropped}
        return verdict

    def keep(self, verdict: Verdict) -> None:
        """Store with the study what the last round has shown, where exports find it."""
        sign = 1.0 if self._direction == "maximize" else -1.0
        candidates = [
            {
                **asdict(c),
                "mean": c.mean if c.values else None,
                "interval": c.interval,
                "overstated_by": sign * (c.searched - c.mean) if c.values else None,
            }
            for c in (*verdict.tied, *verdict.dropped)
        ]
        kept = {
            "at": choice.today(),
            "study": self.study.name,
            "winner": verdict.winner.number,
            "tied": [c.number for c in verdict.tied],
            "candidates": candidates,
        }
        choice.keep(self._database, self._of, choice.CONFIRMATION, kept)


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
                trials=1, epochs=spec.budget.epochs, max_failures=spec.budget.max_failures
            ),
            "pruner": spec.pruner.model_copy(update={"name": "none"}),
            "sampler": spec.sampler.model_copy(update={"name": "random"}),
            "training": spec.training.model_copy(update={"seed": None}),
            "seed": derived_seed(spec.seed, "confirm"),
            "enqueue": (),
        }
    )
    try:
        found = commands.find(database, name)
    except StudyNotFoundError:
        with database.transaction() as connection:
            made = studies.create(
                connection,
                name,
                study.directions,
                metrics=study.metrics,
                family=study.family,
                spec=confirming.as_json(),
                fingerprint=study.data_fingerprint,
                limits=confirming.limits,
            )
            studies.set_state(connection, made, StudyState.PAUSED, allowed=[StudyState.ACTIVE])
            return studies.by_id(connection, made)
    other = found.data_fingerprint != study.data_fingerprint or found.spec is None
    if other or differences(
        ResolvedSpec.from_json(found.spec or {}), confirming, ignore=["budget", "resources"]
    ):
        raise BadInputError(
            f"a study named {quoted(name)} exists and does not confirm {quoted(study.name)}: "
            "delete it, or the one that it was made for has changed"
        )
    return found


def _by_trial(study: Study) -> dict[int, int]:
    """Which of the confirmed trials each trial of the confirming study repeats."""
    kept: Mapping[str, int] = study.user_attrs.get(CANDIDATES, {})
    return {int(number): of for number, of in kept.items()}


def _candidate(trial: Trial, known: Sequence[Trial], by_trial: Mapping[int, int]) -> Candidate:
    mine = [t for t in known if by_trial.get(t.number) == trial.number]
    complete = [t for t in mine if t.state is TrialState.COMPLETE and t.value is not None]
    finite = [t for t in complete if math.isfinite(t.value or 0.0)]
    seconds = [t.seconds for t in finite if t.seconds is not None]
    assert trial.value is not None
    return Candidate(
        number=trial.number,
        params=dict(trial.params),
        searched=trial.value,
        values=tuple(t.value for t in finite if t.value is not None),
        failed=sum(t.state is TrialState.FAILED for t in mine) + len(complete) - len(finite),
        seconds=sum(seconds) / len(seconds) if seconds else 0.0,
    )
