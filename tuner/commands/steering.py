"""Steer studies and their trials: pause, resume, stop, retry, enqueue, kill, drain, delete."""

import shutil
import time
from collections.abc import Mapping, Sequence
from uuid import UUID

from tuner import shell
from tuner.commands import changing, reading, sources
from tuner.database import leases, notes, refusals, serving, studies, trials, workers
from tuner.database.engine import Connected, Database
from tuner.database.readers import feed
from tuner.errors import StudyStateError, TrialNotFoundError, WorkerNotFoundError, visible
from tuner.settings import Settings, settings
from tuner.study_file.messages import quoted
from tuner.study_file.resolve import fit_configuration
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import ParamValue, Study, StudyState, TrialState

KILL_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.5)  # seconds between attempts to kill a trial


_PARTICIPLES = {
    StudyState.PAUSED: "paused",
    StudyState.ACTIVE: "resumed",
    StudyState.STOPPED: "stopped",
}


def pause(database: Database, name: str) -> Study:
    """Stop claims; running trials return to the queue and keep their number and reports."""
    return _set_state(
        database, name, StudyState.PAUSED, allowed=[StudyState.ACTIVE], reason="paused by the user"
    )


def resume(database: Database, name: str) -> Study:
    """Let workers claim trials again."""
    return _set_state(
        database, name, StudyState.ACTIVE, allowed=[StudyState.PAUSED, StudyState.STOPPED]
    )


def stop(database: Database, name: str) -> Study:
    """End a study before its budget is used; running trials return to the queue."""
    return _set_state(
        database,
        name,
        StudyState.STOPPED,
        allowed=[StudyState.ACTIVE, StudyState.PAUSED],
        reason="stopped by the user",
    )


def _set_state(
    database: Database,
    name: str,
    state: StudyState,
    *,
    allowed: Sequence[StudyState],
    reason: str | None = None,
) -> Study:
    with database.transaction() as connection:
        study = studies.by_name(connection, name)
        if state is StudyState.ACTIVE:
            sources.take_corrected_code(connection, study)
        if study.state is state:
            return study  # already in this state: no error
        if not studies.set_state(connection, study.id, state, allowed=allowed, reason=reason):
            raise StudyStateError(
                f"the study {quoted(name)} is {study.state}"
                + (f" ({visible(study.reason)})" if study.reason else "")
                + f"; only {' or '.join(allowed)} studies can be {_PARTICIPLES[state]}"
                + (_how_to_extend(connection, study) if state is StudyState.ACTIVE else "")
            )
        return studies.by_id(connection, study.id)


def _how_to_extend(connection: Connected, study: Study) -> str:
    budget = serving.used_up(connection, study.id, lease=settings().lease_seconds)
    return f": {refusals.describe_extension(study, budget)}"


def retry(database: Database, name: str, number: int | None = None) -> list[int]:
    """Queue failed trials, or one of them, again; returns their numbers.

    A finished study continues. TrialNotFoundError if no trial has that number or it has not failed;
    StudyStateError if the study's budgets would let none of them run.
    """
    with database.transaction() as connection:
        study = studies.by_name(connection, name)
        if number is not None:
            trial = feed.by_number(connection, study.id, number)
            if trial is None:
                raise TrialNotFoundError(f"the study {quoted(name)} has no trial {number}")
            if trial.state is not TrialState.FAILED:
                raise TrialNotFoundError(
                    f"trial {number} of {quoted(name)} is {trial.state}; only failed trials can "
                    "be tried again"
                )
        sources.take_corrected_code(connection, study)
        before = trials.queued(connection, study.id)
        numbers = trials.retry(connection, study.id, number)
        if numbers:
            units = trials.queued(connection, study.id) - before  # of trials that never began
            changing.reactivate(connection, studies.by_id(connection, study.id), units)
        return numbers


def kill(database: Database, name: str, number: int, *, by: str) -> None:
    """Fail a running or paused trial, or an enqueued one that never ran, for good.

    Its worker abandons it at its next report, or when a hint arrives. TrialNotFoundError if there
    is no such trial; StudyStateError if it is in another state.
    """
    message = f"killed by {by}"
    study = reading.find(database, name)
    for pause in KILL_PAUSES:
        with database.statement() as connection:
            if leases.kill(connection, study.id, number, message=message):
                # it may have been the last trial, with no worker left to notice
                serving.finish_if_done(connection, [study.id], lease=settings().lease_seconds)
                return
        trial = reading.load_trial(database, study, number)
        if trial.state is not TrialState.RUNNING:
            break
        time.sleep(pause)  # its worker was writing to it
    hint = " for another attempt; kill it when it runs, or stop the study"
    raise StudyStateError(
        f"trial {number} of {quoted(name)} is {trial.state}"
        + (
            hint
            if trial.state is TrialState.WAITING
            else "; only running, paused and enqueued trials can be killed"
        )
    )


def drain(database: Database, worker_id: UUID) -> None:
    """Ask a worker to stop, as SIGTERM does: its trials finish or return to the queue."""
    with database.statement() as connection:
        if not workers.drain(connection, worker_id):
            raise WorkerNotFoundError(f"there is no worker {worker_id}, or it has stopped already")


def enqueue(
    database: Database, name: str, params: Mapping[str, ParamValue], *, extend: bool = False
) -> int:
    """Queue a configuration to be tried next; returns the trial's number.

    A finished study continues. `extend` raises `budget.trials` if it is given out. SpecError if a
    parameter is unknown, a value is outside the space or the configuration is excluded;
    StudyStateError if the study's budgets would never let it run.
    """
    with database.transaction() as connection:
        study = studies.by_name(connection, name)
        if study.spec is not None:
            params = fit_configuration(ResolvedSpec.from_json(study.spec).space, params)
        number = trials.enqueue(connection, study.id, params)
        study = studies.by_id(connection, study.id)  # locked by now: no worker claims meanwhile
        needed = study.issued + trials.queued(connection, study.id)
        if study.max_trials is not None and needed > study.max_trials:
            if not extend:
                raise StudyStateError(
                    f"{refusals.describe_given_out(study, 'trials')}, so this one would not be "
                    "tried: extend the budget for it with `--extend`, or "
                    f"`{shell.command('change', name, f'budget.trials={needed}')}`"
                )
            study = changing.extend(connection, study, needed)
        changing.reactivate(connection, study, 1)
        return number


def write_note(database: Database, study_id: int, note: str, *, author: str, revision: int) -> None:
    """Replace a study's note; StudyStateError if it changed since it was read as `revision`."""
    with database.transaction() as connection:
        studies.by_id(connection, study_id)
        if not notes.write(connection, study_id, note, author=author, revision=revision):
            raise StudyStateError(
                "somebody else has changed the note meanwhile: copy your text, reload, and merge "
                "both"
            )


def delete(database: Database, settings: Settings, *names: str) -> None:
    """Delete studies with their trials, weights and logs, for good: all of them or none.

    StudyStateError if one of them is active.
    """
    study_ids = []
    with database.transaction() as connection:
        for name in names:
            study = studies.by_name(connection, name)
            if study.state is StudyState.ACTIVE and study.spec is not None:
                raise StudyStateError(
                    f"the study {quoted(name)} is active; stop it first: "
                    f"`{shell.command('stop', name)}`"
                )
            studies.delete(connection, study.id)
            study_ids.append(study.id)
    for study_id in study_ids:
        shutil.rmtree(settings.artifacts / str(study_id), ignore_errors=True)
