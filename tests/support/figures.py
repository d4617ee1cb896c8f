"""Trials as the figures of a study in the database show them."""

import uuid

from benchmarks import fill
from tuner.database import claims, hints, results, spaces
from tuner.database.engine import Database
from tuner.search.distributions import as_json, distribution
from tuner.trials import Report, TrialState


def finished_trial(database: Database, study: int) -> int:
    """A trial from its claim to its result, told as a worker tells."""
    space = {name: distribution(parameter) for name, parameter in fill.SHOWN.items()}
    with database.transaction() as connection:
        claimed = claims.claim(
            connection,
            study,
            worker_id=uuid.uuid4(),
            key=uuid.uuid4(),
            lease=60.0,
            space_id=spaces.ensure(connection, study, as_json(space)),
            params=[0.001, 0.0001, 0.2, 2, 1, 0],
        )
    assert claimed is not None
    with database.statement() as connection:
        results.report(connection, claimed, [Report(1, 0.5)], lease=60.0)
    with database.statement() as connection:
        results.finish(connection, claimed, TrialState.COMPLETE, [0.75])
        hints.send(connection, hints.TRIALS, [study])
    return claimed.number
