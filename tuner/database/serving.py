"""What workers ask of studies: which are active, whose turn it is, which are over or failing.

Functions take a connection and never commit.
"""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import Connection, TextClause, text

from tuner.database.readers.feed import NEW, Snapshot
from tuner.database.results import NEVER_PROMOTED
from tuner.study_file.code import USER_CODE_FAMILIES
from tuner.study_file.study import Budget
from tuner.trials import NO_LABELS

Due = Mapping[int, Sequence[int]]  # study id → its paused trials that may go on, by number
NOTHING_DUE: Due = MappingProxyType({})
FIRST_FAILURES = 2  # so many first trials of user code that fail alike pause the study

_ACTIVE = text("""
    SELECT id, name, family, revision FROM tuner.studies
    WHERE state = 'active' AND spec IS NOT NULL AND labels <@ CAST(:labels AS jsonb) ORDER BY id
""")

# A claim reserves a lease's seconds, or what is left if that is enough: a tenth of the budget, if
# that is shorter than a lease. Fewer would be spent on starting and stopping.
_SECONDS_LEFT = """
    (s.max_seconds IS NULL
     OR s.max_seconds - s.seconds_issued >= least(:lease, s.max_seconds / 10))
"""
# Trials that wait and have started, and paused ones that are due for promotion, have their unit of
# the budget; what they may lack is epochs.
_BEGUN = """
    SELECT t.epochs FROM tuner.trials t
    WHERE t.study_id = s.id AND t.state = 'waiting' AND t.started_at IS NOT NULL
    UNION ALL
    SELECT t.epochs
    FROM unnest(CAST(:due_studies AS bigint[]), CAST(:due_numbers AS integer[]))
        AS due(study_id, number)
    JOIN tuner.trials t ON t.study_id = due.study_id AND t.number = due.number
    WHERE due.study_id = s.id AND t.state = 'paused'
"""
_MAY_GO_ON = f"""
    EXISTS (
        SELECT FROM ({_BEGUN}) begun
        WHERE s.max_epochs IS NULL
           OR s.trial_epochs - coalesce(begun.epochs, 0) <= s.max_epochs - s.epochs_issued
    )
"""

# Which study is served next: the one with the higher priority; then the one with the fewest running
# trials, so that studies share devices; then the one that has waited longest, for a single device.
_IN_TURN = text(f"""
    SELECT s.id FROM tuner.studies s, LATERAL (
        SELECT count(*) AS running FROM tuner.trials t
        WHERE t.study_id = s.id AND t.state = 'running'
    ) t
    WHERE s.id = ANY(:ids) AND s.state = 'active' AND s.labels <@ CAST(:labels AS jsonb)
      AND (s.deadline IS NULL OR clock_timestamp() < s.deadline)
      AND (s.max_concurrent IS NULL OR t.running < s.max_concurrent)
      AND {_SECONDS_LEFT}
      AND (((s.max_trials IS NULL OR s.issued < s.max_trials)
            AND (s.max_epochs IS NULL OR s.epochs_issued + s.trial_epochs <= s.max_epochs))
           OR {_MAY_GO_ON})
    ORDER BY s.priority DESC, t.running, s.claimed_at NULLS FIRST, s.id
""")  # noqa: S608 - constants

# Which budget gives no more trials, not even an interrupted one; by its name in study files.
_USED_UP = f"""
    CASE WHEN (s.issued >= s.max_trials OR s.epochs_issued > s.max_epochs - s.trial_epochs)
              AND NOT {_MAY_GO_ON}
         THEN CASE WHEN s.issued >= s.max_trials AND NOT EXISTS ({_BEGUN})
             THEN 'trials' ELSE 'total_epochs' END
         WHEN NOT {_SECONDS_LEFT} THEN 'gpu_seconds'
         WHEN clock_timestamp() >= s.deadline THEN 'hours'
    END
"""
_WHICH_IS_USED_UP = text(
    f"SELECT {_USED_UP} FROM tuner.studies s WHERE s.id = :id"  # noqa: S608 - constants
)

# Who does not know which paused trials are due for promotion must not end a study that has some;
# who does must know all that has happened: nothing has changed since its snapshot.
_NONE_PAUSED = """
    NOT EXISTS (SELECT FROM tuner.trials t WHERE t.study_id = s.id AND t.state = 'paused')
"""
_NOTHING_NEW = f"""
    NOT EXISTS (SELECT FROM tuner.trials WHERE study_id = s.id AND {NEW})
"""


def _finish(which: str, reason: str) -> TextClause:
    """Return the statement that ends studies, and as pruned their trials that are paused.

    Trials are locked before their studies, as everywhere. A claim meanwhile changes `claimed_at`.
    """
    return text(f"""
        WITH done AS MATERIALIZED (
            SELECT s.id, s.claimed_at FROM tuner.studies s WHERE s.state = 'active' AND {which}
        ), paused AS MATERIALIZED (
            SELECT t.id, t.study_id FROM tuner.trials t
            WHERE t.study_id IN (SELECT id FROM done) AND t.state = 'paused'
            ORDER BY t.id FOR UPDATE OF t
        ), finished AS (
            UPDATE tuner.studies s
            SET state = 'finished', finished_at = clock_timestamp(), reason = {reason}
            FROM done d, (SELECT count(*) FROM paused) locked
            WHERE s.id = d.id AND s.state = 'active'
              AND s.claimed_at IS NOT DISTINCT FROM d.claimed_at
            RETURNING s.id
        ), ended AS (
            UPDATE tuner.trials t
            SET state = 'pruned', changed = pg_current_xact_id(),
                message = '{NEVER_PROMOTED}' || coalesce(': ' || t.message, '')
            FROM paused p JOIN finished f ON f.id = p.study_id
            WHERE t.id = p.id
        )
        SELECT id, pg_notify('tuner_work', CAST(id AS text)) FROM finished
    """)  # noqa: S608 - constants


# A study is finished once a budget is used up and none of its trials runs. Two workers that finish
# its last two trials at once may each still see the other's as running; the next claim that gets
# nothing tries again.
_NONE_RUNS = """
    NOT EXISTS (SELECT FROM tuner.trials t WHERE t.study_id = s.id AND t.state = 'running')
"""
_WHY_DONE = f"""CASE {_USED_UP}
        WHEN 'trials' THEN CASE WHEN max_trials = 1 THEN 'its only trial is done'
            ELSE 'all ' || max_trials || ' trials are done' END
        WHEN 'total_epochs' THEN
            'its ' || max_epochs || CASE WHEN max_epochs = 1 THEN ' epoch is' ELSE ' epochs are' END
            || ' used up' || CASE
                WHEN epochs_issued = max_epochs THEN ''
                ELSE ' but for ' || max_epochs - epochs_issued || ', too few for another trial' END
        WHEN 'gpu_seconds' THEN
            'its ' || max_seconds || CASE WHEN max_seconds = 1 THEN ' GPU second is'
                ELSE ' GPU seconds are' END || ' used up' || CASE
                WHEN max_seconds - seconds_issued < 0.05 THEN ''
                ELSE ' but for '
                    || trim_scale(round(CAST(max_seconds - seconds_issued AS numeric), 1))
                    || ', too few for another trial' END
        ELSE 'its hours are used up' END
"""
_DONE = f"s.id = ANY(:ids) AND {_USED_UP} IS NOT NULL AND {_NONE_RUNS}"
_FINISH_IF_DONE = _finish(f"{_DONE} AND {_NONE_PAUSED}", _WHY_DONE)
_FINISH_IF_SETTLED = _finish(f"{_DONE} AND {_NOTHING_NEW}", _WHY_DONE)

# The same if there is nothing left to try: waiting trials are tried first.
_IDLE = """
    s.id = ANY(:ids) AND NOT EXISTS (
        SELECT FROM tuner.trials t
        WHERE t.study_id = s.id AND t.state IN ('waiting', 'running')
    )
"""
_FINISH_IF_IDLE = _finish(f"{_IDLE} AND {_NONE_PAUSED}", ":reason")
_FINISH_IF_IDLE_AND_SETTLED = _finish(f"{_IDLE} AND {_NOTHING_NEW}", ":reason")

# For another reason, whatever runs.
_FINISH = _finish("s.id = ANY(:ids)", ":reason")

# Messages are alike if they differ only in numbers and addresses. Fewer trials than `most` are all
# that there are: user code whose first trials fail alike is wrong, whatever the parameters are.
_PAUSE_IF_FAILING = text("""
    UPDATE tuner.studies s
    SET state = 'paused', reason = CASE
            WHEN l.trials = 1 THEN '1 trial failed ('
            WHEN l.trials < m.most THEN 'its first ' || l.trials || ' trials failed alike ('
            ELSE l.trials || ' trials in a row failed (' END
        || l.cause || '), the last: ' || coalesce(l.message, '?')
    FROM unnest(CAST(:ids AS bigint[])) AS failing(id)
    JOIN tuner.studies f ON f.id = failing.id,
    LATERAL (SELECT coalesce(CAST(f.spec -> 'budget' ->> 'max_failures' AS integer), 5) AS most) m,
    LATERAL (
        SELECT count(*) AS trials, count(DISTINCT cause) AS causes, min(cause) AS cause,
               bool_and(state = 'failed') AS failed,
               count(DISTINCT regexp_replace(
                   coalesce(message, ''),
                   '0x[0-9a-fA-F]+|-?[0-9][0-9.]*(e[-+]?[0-9]+)?', '#', 'g'
               )) AS messages,
               (array_agg(message ORDER BY finished_at DESC))[1] AS message
        FROM (
            SELECT state, cause, message, finished_at FROM tuner.trials t
            WHERE t.study_id = f.id AND t.finished_at IS NOT NULL
            ORDER BY finished_at DESC LIMIT m.most
        ) latest
    ) l
    WHERE s.id = f.id AND s.state = 'active'
      AND l.causes = 1 AND l.failed AND l.cause <> 'killed'
      AND (l.trials = m.most
           OR (f.family = ANY(:own) AND m.most <= :default AND l.trials >= :alike
               AND l.messages = 1))
    RETURNING s.id, pg_notify('tuner_work', CAST(s.id AS text))
""")


class ActiveStudy(NamedTuple):
    """What a worker reads again and again about the studies that it may serve."""

    id: int
    name: str
    family: str
    revision: int  # grows when specification or limits change


def active(connection: Connection, *, labels: Mapping[str, str] = NO_LABELS) -> list[ActiveStudy]:
    """List the active studies that workers with these labels may serve, the oldest first."""
    rows = connection.execute(_ACTIVE, {"labels": json.dumps(dict(labels))})
    return [ActiveStudy._make(row) for row in rows]


def in_turn(
    connection: Connection,
    ids: Sequence[int],
    *,
    labels: Mapping[str, str],
    lease: float,
    due: Due = NOTHING_DUE,
) -> list[int]:
    """Return those of these studies that may have a trial to give, the next in turn first.

    `lease`: the seconds that a claim would reserve. `due`: the paused trials that may go on.
    """
    arguments = {"ids": list(ids), "labels": json.dumps(dict(labels)), "lease": lease, **_due(due)}
    return list(connection.execute(_IN_TURN, arguments).scalars())


def finish_if_done(connection: Connection, ids: Sequence[int], *, lease: float) -> list[int]:
    """Finish those of the studies whose budgets give no more trials and of which none runs.

    Leaves out studies with paused trials, which may be due for promotion: see
    `finish_if_settled`. Returns the ids of the finished ones. `lease`: the seconds that a claim
    would reserve.
    """
    arguments = {"ids": list(ids), "lease": lease, **_due(NOTHING_DUE)}
    return list(connection.execute(_FINISH_IF_DONE, arguments).scalars())


def finish_if_settled(
    connection: Connection, study_id: int, *, lease: float, due: Sequence[int], known: Snapshot
) -> bool:
    """Finish a study as `finish_if_done` does, whose paused trials that may go on are `due`.

    Its other paused trials end as pruned. Nothing happens if anything has changed since `known`.
    """
    arguments = {
        **known.arguments(study_id, {}),
        **_due({study_id: due}),
        "ids": [study_id],
        "lease": lease,
    }
    return connection.execute(_FINISH_IF_SETTLED, arguments).one_or_none() is not None


def finish_if_idle(
    connection: Connection, study_id: int, reason: str, *, known: Snapshot | None = None
) -> bool:
    """Finish a study with nothing left to try, unless one of its trials waits or runs.

    With paused trials only if the caller knows that none is due: nothing has changed since `known`.
    """
    arguments: dict[str, Any] = {"ids": [study_id], "reason": reason}
    if known is None:
        return connection.execute(_FINISH_IF_IDLE, arguments).one_or_none() is not None
    arguments |= known.arguments(study_id, {})
    return connection.execute(_FINISH_IF_IDLE_AND_SETTLED, arguments).one_or_none() is not None


def finish(connection: Connection, study_id: int, reason: str) -> bool:
    """Finish an active study, whose paused trials end as pruned; False if it is not active."""
    arguments = {"ids": [study_id], "reason": reason}
    return connection.execute(_FINISH, arguments).one_or_none() is not None


def used_up(connection: Connection, study_id: int, *, lease: float) -> str | None:
    """Return the budget that gives no more trials, by its name in `budget`; None if all do.

    Promotions, which take no unit of it, do not count. `lease`: the seconds that a claim would
    reserve.
    """
    arguments = {"id": study_id, "lease": lease, **_due(NOTHING_DUE)}
    row = connection.execute(_WHICH_IS_USED_UP, arguments).one_or_none()
    return None if row is None else row[0]


def _due(due: Due) -> dict[str, list[int]]:
    """Return the arguments of `_MAY_GO_ON`."""
    pairs = [(study_id, number) for study_id, numbers in due.items() for number in numbers]
    return {"due_studies": [pair[0] for pair in pairs], "due_numbers": [pair[1] for pair in pairs]}


def pause_if_failing(connection: Connection, ids: Sequence[int]) -> list[int]:
    """Pause those active studies whose last trials all failed from the same cause.

    `budget.max_failures` says how many that takes; unless it is raised, for user code it is the
    first `FIRST_FAILURES` if their messages are alike. Returns the ids.
    """
    arguments = {
        "ids": list(ids),
        "own": list(USER_CODE_FAMILIES),
        "default": Budget().max_failures,
        "alike": FIRST_FAILURES,
    }
    return list(connection.execute(_PAUSE_IF_FAILING, arguments).scalars())
