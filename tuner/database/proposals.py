"""Who proposes for a study, and what is proposed: for samplers of which there must be one only.

A claim takes a trial without parameters. The worker that holds the study's proposer proposes for
all such trials, its own and those of others, which wait until theirs has parameters. So a trial's
row is the request and the answer: a worker that dies leaves nothing but trials to propose for, and
a proposal is stored exactly once.

Functions take a connection and never commit.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from tuner.database import attributes
from tuner.origin import NUMERICAL, RAISED, Origin

# the worker and until when, by the database's clock
_HOLDER = "CAST(s.system_attrs ->> '{proposer}' AS jsonb)"

_TAKE = text(f"""
    UPDATE tuner.studies s
    SET system_attrs = s.system_attrs || jsonb_build_object(
        '{{proposer}}', CAST(jsonb_build_object(
            'worker', CAST(:worker AS text),
            'until', extract(epoch FROM clock_timestamp()) + CAST(:lease AS double precision)
        ) AS text))
    WHERE s.id = :study AND s.state = 'active' AND (
        coalesce({_HOLDER} ->> 'worker', '') = :worker
        OR coalesce(CAST({_HOLDER} ->> 'until' AS double precision), 0)
           < extract(epoch FROM clock_timestamp())
    )
    RETURNING s.id
""")  # noqa: S608 - constants
_LEAVE = text(f"""
    UPDATE tuner.studies s SET system_attrs = s.system_attrs - '{{proposer}}'
    WHERE s.id = :study AND coalesce({_HOLDER} ->> 'worker', '') = :worker
""")  # noqa: S608
_STORE = text(f"""
    UPDATE tuner.trials t
    SET space_id = :space, params = CAST(:params AS double precision[]),
        origin = CAST(:origin AS jsonb), system_attrs = t.system_attrs || CAST(:attrs AS jsonb),
        changed = pg_current_xact_id()
    FROM tuner.studies s
    WHERE t.id = :id AND t.state = 'running' AND t.space_id IS NULL
      AND s.id = t.study_id AND coalesce({_HOLDER} ->> 'worker', '') = :worker
    RETURNING t.id
""")  # noqa: S608
_WITHOUT_MODEL = text("""
    SELECT count(*) AS trials, (array_agg(origin ->> 'reason' ORDER BY number DESC))[1] AS reason
    FROM tuner.trials
    WHERE study_id = :study
      AND (origin ->> 'reason' = :numerical OR starts_with(origin ->> 'reason', :raised))
""")
_ADD_ATTRIBUTES = text("""
    UPDATE tuner.trials
    SET system_attrs = system_attrs || CAST(:attrs AS jsonb), changed = pg_current_xact_id()
    WHERE id = :id AND state = 'running'
""")


def take(connection: Connection, study_id: int, worker_id: UUID, lease: float) -> bool:
    """Take or keep the study's proposer for `lease` seconds; False if another worker has it."""
    arguments = {"study": study_id, "worker": str(worker_id), "lease": lease}
    return connection.execute(_TAKE, arguments).one_or_none() is not None


def leave(connection: Connection, study_id: int, worker_id: UUID) -> None:
    """Leave the study's proposer to whoever takes it next."""
    connection.execute(_LEAVE, {"study": study_id, "worker": str(worker_id)})


def store(
    connection: Connection,
    trial_id: int,
    *,
    worker_id: UUID,
    space_id: int,
    params: Sequence[float],
    origin: Origin,
    attrs: Mapping[str, Any],
) -> bool:
    """Store a proposal; False if the trial has parameters or runs no more, or the proposer is lost.

    `attrs` are system attributes by which a sampler remembers the trial.
    """
    arguments = {
        "id": trial_id,
        "worker": str(worker_id),
        "space": space_id,
        "params": list(params),
        "origin": json.dumps(origin.as_json()),
        "attrs": attributes.encode(attrs),
    }
    return connection.execute(_STORE, arguments).one_or_none() is not None


def add_attributes(connection: Connection, trial_id: int, attrs: Mapping[str, Any]) -> None:
    """Add system attributes to a running trial, by which a pruner remembers it."""
    connection.execute(_ADD_ATTRIBUTES, {"id": trial_id, "attrs": attributes.encode(attrs)})


def count_without_model(connection: Connection, study_id: int) -> tuple[int, str | None]:
    """Count the trials that were drawn without a model since it failed, with the last reason."""
    arguments = {"study": study_id, "numerical": NUMERICAL, "raised": RAISED}
    row = connection.execute(_WITHOUT_MODEL, arguments).one()
    return row.trials, row.reason
