"""What a claimed trial reports and how it ends: reports, and the conditional finish.

Reports and finishes are single statements whose part `written` says whether they matched their
row; a reader may poll in the same round trip (`execute`). Functions take a connection and never
commit.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, text

from tuner.database import attributes
from tuner.database.claims import Claim, fence, lost
from tuner.database.prepared_statements import PreparedStatement
from tuner.database.storable_text import replace_unstorable
from tuner.trials import Cause, Report, TrialState

NEVER_PROMOTED = "paused at a rung, never promoted"  # why a paused trial ends with its study

# Of the trial in `held`, which the statement around it defines. A later report of a step replaces
# the one before.
_STORE_REPORTS = """
    INSERT INTO tuner.reports (trial_id, step, value, metrics)
    SELECT held.id, incoming.step, incoming.value, CAST(incoming.metrics AS jsonb)
    FROM held, unnest(
        CAST(:steps AS bigint[]), CAST(:reported AS double precision[]), CAST(:metrics AS text[])
    ) AS incoming(step, value, metrics)
    ON CONFLICT (trial_id, step) DO UPDATE SET value = excluded.value, metrics = excluded.metrics
    RETURNING trial_id
"""

# A report need not be flushed at once: the trial's finish, which is, flushes everything before it,
# and a worker that notices a crash of the server repeats what the crash may have lost.
_FLUSHED_REPORT = f"""
    WITH held AS (
        UPDATE tuner.trials t
        SET lease_until = clock_timestamp() + :lease * interval '1 second'
        WHERE id = :id AND attempt = :attempt AND worker_id = :worker AND state = 'running'
        RETURNING t.id
    ), written AS ({_STORE_REPORTS})
"""  # noqa: S608 - constants
_REPORT = _FLUSHED_REPORT.replace(
    "WITH held AS (",
    """WITH asynchronous AS MATERIALIZED (
        SELECT set_config('synchronous_commit', 'off', TRUE)
    ), held AS (""",
).replace("WHERE id", "FROM asynchronous WHERE id", 1)

_STEPS = text("SELECT step FROM tuner.reports WHERE trial_id = :id")

# Whether a trial pauses although its study has just finished: it is never promoted.
_TOO_LATE = """
    CAST(:state AS text) = 'paused'
    AND EXISTS (SELECT FROM tuner.studies s WHERE s.id = t.study_id AND s.state = 'finished')
"""
# What an ended attempt did not use goes back to the study. The study's row, for whose lock others
# wait, is touched only if there is something to give back. `paid_until` stays: it says how much.
_FINISH = f"""
    WITH written AS (
        UPDATE tuner.trials t
        SET state = CASE WHEN {_TOO_LATE} THEN 'pruned' ELSE :state END,
            message = CASE
                WHEN {_TOO_LATE} THEN '{NEVER_PROMOTED}' || coalesce(': ' || :message, '')
                ELSE :message END,
            objective_values = :values, cause = :cause,
            log_tail = :log_tail, user_attrs = user_attrs || CAST(:attrs AS jsonb),
            system_attrs = system_attrs || CAST(:constraints AS jsonb),
            epochs = CASE WHEN t.epochs IS NOT NULL THEN least(t.epochs, greatest(:last_step, (
                SELECT coalesce(max(r.step), 0) FROM tuner.reports r WHERE r.trial_id = t.id
            ))) END,
            seconds = t.seconds + extract(epoch FROM least(c.now, t.paid_until) - t.started_at),
            finished_at = c.now, lease_until = NULL, changed = pg_current_xact_id()
        FROM (SELECT clock_timestamp() AS now) c
        WHERE id = :id AND attempt = :attempt AND worker_id = :worker AND state = 'running'
        RETURNING t.id, t.study_id, t.epochs, t.paid_until, c.now
    ), refunded AS (
        UPDATE tuner.studies s
        SET epochs_issued = s.epochs_issued - greatest(0, s.trial_epochs - w.epochs),
            seconds_issued = greatest(
                0, s.seconds_issued - greatest(0, extract(epoch FROM w.paid_until - w.now)))
        FROM written w
        WHERE s.id = w.study_id AND (w.epochs < s.trial_epochs OR w.paid_until > w.now)
    )
"""  # noqa: S608 - constants
_FINISH_WITH_REPORTS = f"""
    {_FINISH}, held AS (SELECT id FROM written), reported AS ({_STORE_REPORTS})
"""  # noqa: S608 - constants

_NEVER_PROMOTED = text(f"""
    SELECT number FROM tuner.trials
    WHERE study_id = :study AND state = 'pruned' AND message LIKE '{NEVER_PROMOTED}%'
""")  # noqa: S608 - a constant

_IS_FINISHED = text("""
    SELECT id FROM tuner.trials
    WHERE id = :id AND attempt = :attempt AND worker_id = :worker
      AND state IN (:state, CASE WHEN CAST(:state AS text) = 'paused' THEN 'pruned' END)
""")

# Executes one of these statements with its arguments; returns whether it matched its row.
Execute = Callable[[Connection, str, Mapping[str, Any]], bool]


@cache
def _prepared(write: str) -> PreparedStatement:
    return PreparedStatement(write + " SELECT FROM written LIMIT 1")


def without_poll(connection: Connection, write: str, arguments: Mapping[str, Any]) -> bool:
    """Write only; the `Execute` of callers that read nothing in the same round trip."""
    return _prepared(write).run(connection, arguments).one_or_none() is not None


def report(
    connection: Connection,
    claim: Claim,
    reports: Sequence[Report],
    *,
    lease: float,
    flush: bool = False,
    execute: Execute = without_poll,
) -> None:
    """Store at least one report and renew the lease; the last one of a step counts.

    Without `flush`, a crash of the server may lose them. LeaseLostError if the worker no longer
    holds the trial.
    """
    write = _FLUSHED_REPORT if flush else _REPORT
    if not execute(
        connection, write, {**fence(claim), **_report_arguments(reports), "lease": lease}
    ):
        raise lost(claim)


def _report_arguments(reports: Sequence[Report]) -> dict[str, object]:
    """Return the arguments of `_STORE_REPORTS`."""
    latest = {report.step: report for report in reports}.values()
    return {
        "steps": [report.step for report in latest],
        "reported": [report.value for report in latest],
        "metrics": [
            json.dumps({k: v if math.isfinite(v) else None for k, v in report.metrics.items()})
            for report in latest
        ],
    }


def report_missing(
    connection: Connection, claim: Claim, reports: Sequence[Report], *, lease: float, flush: bool
) -> None:
    """Store those reports of a trial's earlier attempts that the database lacks."""
    stored = set(connection.execute(_STEPS, {"id": claim.id}).scalars())
    missing = [each for each in reports if each.step not in stored]
    if missing:
        report(connection, claim, missing, lease=lease, flush=flush)


def finish(
    connection: Connection,
    claim: Claim,
    state: TrialState,
    values: Sequence[float] | None = None,
    *,
    reports: Sequence[Report] = (),
    cause: Cause | None = None,
    message: str | None = None,
    log_tail: str | None = None,
    user_attrs: Mapping[str, Any] | None = None,
    constraints: Mapping[str, float] | None = None,
    pruned_after: int | None = None,
    execute: Execute = without_poll,
) -> None:
    """End or pause a claimed trial; stores its last `reports` and the values of its constraints.

    `pruned_after`: its last step, if it was pruned and has several objectives.

    A trial that would pause ends as pruned if its study is finished. Finishing twice is no error;
    LeaseLostError if the worker no longer holds the trial.
    """
    constraints = dict(constraints or {})
    if pruned_after is not None:
        constraints[attributes.PRUNED] = 1 / (1 + pruned_after)
    arguments = {
        **fence(claim),
        **(_report_arguments(reports) if reports else {}),
        "last_step": max((report.step for report in reports), default=0),
        "state": str(state),
        "values": None if values is None else list(values),
        "cause": cause,
        "message": message and replace_unstorable(message),
        "log_tail": log_tail and replace_unstorable(log_tail),
        "attrs": attributes.encode(user_attrs or {}),
        "constraints": attributes.encode_constraints(constraints),
    }
    if not execute(connection, _FINISH_WITH_REPORTS if reports else _FINISH, arguments):
        rows = connection.execute(_IS_FINISHED, {**fence(claim), "state": str(state)})
        if rows.one_or_none() is None:
            raise lost(claim)


def list_never_promoted(connection: Connection, study_id: int) -> list[int]:
    """List the trials that were paused when their study ended, by number."""
    return list(connection.execute(_NEVER_PROMOTED, {"study": study_id}).scalars())
