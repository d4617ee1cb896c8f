"""Look studies and trials up: one, several, the best."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tuner import shell
from tuner.database import attributes, proposals, studies, trials
from tuner.database.engine import Connected, Database
from tuner.database.readers import attempts, feed
from tuner.errors import NothingToExportError, TrialNotFoundError, visible
from tuner.study_file.constraints import sum_violations
from tuner.study_file.messages import counted, quoted
from tuner.trial_tables import metric_names
from tuner.trials import (
    Attempt,
    FailuresByCause,
    Study,
    StudyState,
    Trial,
    TrialState,
    latest_failure,
)
from tuner.winner import choice, feasibility

NEWEST = 50  # trials whose reports tell what a study's code reports


@dataclass(frozen=True, slots=True)
class Overview:
    """A study with its counts, for lists."""

    study: Study
    counts: Mapping[TrialState, int]


def find(database: Database, name: str) -> Study:
    """Find a study by its name; StudyNotFoundError if there is none."""
    with database.statement() as connection:
        return studies.by_name(connection, name)


def find_by_id(database: Database, study_id: int) -> Study:
    """Find a study by its id; StudyNotFoundError if there is none."""
    with database.statement() as connection:
        return studies.by_id(connection, study_id)


def list_studies(database: Database) -> list[Study]:
    """List all studies, oldest first."""
    with database.statement() as connection:
        return studies.list_all(connection)


def find_experiment(database: Database, name: str) -> list[Study]:
    """Find the studies of an experiment, oldest first; none if no experiment has that name."""
    with database.statement() as connection:
        return studies.of_experiment(connection, name)


def find_all(database: Database, name: str) -> list[Study]:
    """Find the study of that name, or the studies of the experiment of that name, oldest first.

    No study and experiment share a name. StudyNotFoundError if there is neither.
    """
    return find_experiment(database, name) or [find(database, name)]


def load_overviews(database: Database) -> list[Overview]:
    """Load all studies with their counts of trials, oldest first."""
    with database.statement() as connection:
        all_studies = studies.list_all(connection)
        counts = trials.counts(connection)
    return [Overview(study, _by_state(counts.get(study.id, {}))) for study in all_studies]


def load_overview(database: Database, name: str) -> Overview:
    """Load one study with its counts of trials."""
    with database.statement() as connection:
        study = studies.by_name(connection, name)
        return Overview(study, count_by_state(connection, study.id))


def load_overview_by_id(database: Database, study_id: int) -> Overview:
    """Load one study, by its id, with its counts of trials."""
    with database.statement() as connection:
        study = studies.by_id(connection, study_id)
        return Overview(study, count_by_state(connection, study.id))


def count_by_state(connection: Connected, study_id: int) -> dict[TrialState, int]:
    """Count a study's trials in each state."""
    return _by_state(trials.counts(connection, study_id).get(study_id, {}))


def _by_state(counts: Mapping[str, int]) -> dict[TrialState, int]:
    return {state: counts.get(state, 0) for state in TrialState}


def load_trials(database: Database, study: Study) -> list[Trial]:
    """Load all trials of a study, by number."""
    with database.statement() as connection:
        return feed.load(connection, study.id)


def load_trial(database: Database, study: Study, number: int) -> Trial:
    """Load the trial of that number; TrialNotFoundError if there is none."""
    with database.statement() as connection:
        trial = feed.by_number(connection, study.id, number)
    if trial is None:
        raise TrialNotFoundError(f"the study {quoted(study.name)} has no trial {number}")
    return trial


def load_trial_and_attempts(
    database: Database, study: Study, number: int
) -> tuple[Trial, list[attempts.LoggedAttempt]]:
    """Load a trial with its attempts; TrialNotFoundError if there is none."""
    trial = load_trial(database, study, number)
    with database.statement() as connection:
        return trial, attempts.of_trial(connection, trial.id)


def load_failures(database: Database, study: Study) -> list[FailuresByCause]:
    """Load what went wrong in a study, one entry per cause."""
    with database.statement() as connection:
        return attempts.failures_by_cause(connection, study.id)


def load_attempts(database: Database, study: Study) -> list[Attempt]:
    """Load every attempt of a study's trials, by trial."""
    with database.statement() as connection:
        return attempts.of_study(connection, study.id)


def load_report_times(database: Database, study: Study) -> dict[tuple[int, int], datetime]:
    """Load when each report of a study arrived: (trial number, step) → time."""
    with database.statement() as connection:
        return attempts.report_times(connection, study.id)


def load_best(database: Database, study: Study) -> Trial:
    """Load the best complete trial; NothingToExportError if there is none."""
    trials = load_trials(database, study)
    best = choice.select_best(trials, study)
    if best is None:
        by_state = {s: sum(t.state is s for t in trials) for s in TrialState}
        by_count = ", ".join(f"{n} {s}" for s, n in by_state.items() if n) or "no trials at all"
        finite = " with a finite value" if by_state[TrialState.COMPLETE] else ""
        if misses := feasibility.describe_infeasible(trials, study):
            nearest = feasibility.select_nearest(trials)
            assert nearest is not None
            options = ("--trial", str(nearest.number))
            raise NothingToExportError(
                f"the study {quoted(study.name)} has no best trial: {misses}. "
                f"`{shell.command('export', study.name, options=options)}` exports it all the same"
            )
        raise NothingToExportError(
            f"the study {quoted(study.name)} has no complete trial{finite}, so there is no best "
            f"one ({by_count}){_describe_latest_failure(trials, study)}"
        )
    return best


def describe_infeasible(database: Database, study: Study) -> str | None:
    """Say that no complete trial is feasible, and which one is nearest; None if one is."""
    from tuner.database.readers import columns  # imports NumPy

    with database.statement() as connection:
        _, parts = columns.finished(connection, study.id, with_attributes=False)
        nearest: tuple[float, int] | None = None
        complete = [part for part in parts if part.state == TrialState.COMPLETE]
        for part in complete:
            if len(part.system_attrs) < len(part.numbers):
                return None  # one has no constraint, so it violates none
            for number, stored in part.system_attrs.items():
                violation = sum_violations(attributes.decode_constraints(stored).values())
                nearest = min(nearest or (math.inf, -1), (violation, int(number)))
        if nearest is None or nearest[0] == 0:
            return None
        trial = feed.by_number(connection, study.id, nearest[1])
    count = sum(len(part.numbers) for part in complete)
    return None if trial is None else feasibility.describe_nearest(trial, study, count)


def describe_fallbacks(database: Database, study: Study) -> str | None:
    """Say how many trials were drawn without the sampler's model, since it failed; None if none."""
    with database.statement() as connection:
        trials, reason = proposals.count_without_model(connection, study.id)
    if not trials:
        return None
    drawn = "was" if trials == 1 else "were"
    return f"{counted(trials, 'trial')} {drawn} drawn without the sampler's model: {reason}"


def describe_unreported(trials: Sequence[Trial], study: Study) -> str | None:
    """Say which objectives rungs do not compare, since trials do not report them; None if none."""
    pruner = (study.spec or {}).get("pruner") or {}
    with_reports = [trial for trial in trials if trial.reports][-NEWEST:]
    if pruner.get("name") not in ("rungs", "hyperband") or not with_reports:
        return None
    first, *others = metric_names(study)
    missing = [
        name
        for name in others
        if not any(name in trial.reports[-1].metrics for trial in with_reports)
    ]
    if not missing:
        return None
    compared = [first, *(name for name in others if name not in missing)]
    alone = " alone" if len(compared) == 1 else ""
    return (
        f"rungs compare {' and '.join(compared)}{alone}: trials do not report "
        f"{' and '.join(missing)} before their end"
    )


def _describe_latest_failure(trials: Sequence[Trial], study: Study) -> str:
    """End a sentence about a study without a result: what failed last, and what to do."""
    trial = latest_failure(trials)
    if trial is None or trial.cause is None:  # studies made through Optuna have no causes
        is_finished = study.state is StudyState.FINISHED and study.reason is not None
        return f"; it is finished: {study.reason}" if is_finished else ""
    message = visible(trial.message or "without a message")
    return (
        f"; the latest failure, trial {trial.number} ({trial.cause}): {message}. Once that is "
        f"corrected, `{shell.command('retry', study.name)}` queues failed trials again"
    )


def load_winner(database: Database, study: Study) -> Trial:
    """Load the winner: the best trial, or the one that a confirmation chose among it and others.

    A better trial that the search found after the confirmation wins. NothingToExportError if no
    trial is complete.
    """
    best = load_best(database, study)
    number = choice.winning_number(study, best)
    return best if number == best.number else load_trial(database, study, number)


def load_leading(
    database: Database,
    study: Study,
    top: int,
    *,
    front: bool = False,
    also: Collection[int] = (),
) -> list[Trial]:
    """Load the best `top` complete trials of different configurations, best first.

    `front`: only trials that no other beats in every objective; `also`: numbers of trials to
    include whatever their rank. NothingToExportError if no trial is complete.
    """
    trials = choice.select_leading(load_trials(database, study), study, top, front=front, also=also)
    if not trials:
        load_best(database, study)  # raises with the reason
    return trials
