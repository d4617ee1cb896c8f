"""A study in the database, and what a worker does to it."""

import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import text

from tests.support import searching
from tuner.database import claims, leases, results, spaces, studies
from tuner.database.claims import Claim
from tuner.database.engine import Database
from tuner.database.readers import feed
from tuner.origin import Origin
from tuner.trials import NO_LABELS, Cause, Limits, Report, Trial, TrialState

LEASE = 3_600.0  # seconds; longer than any test


DISTRIBUTIONS = [
    (
        "x",
        {
            "name": "FloatDistribution",
            "attributes": {"low": 0.0, "high": 1.0, "log": False, "step": None},
        },
    )
]


class Bench:
    """A study and what a worker does to it."""

    def __init__(
        self, database: Database, name: str = "bench", metrics: Sequence[str] = (),
        family: str | None = None, max_failures: int = 3, **limits: Any,
    ) -> None:  # fmt: skip
        self.database = database
        with database.transaction() as connection:
            spec = searching.spec(name).as_json()
            spec["resources"]["max_attempts"] = 2
            spec["budget"]["max_failures"] = max_failures
            self.id = studies.create(
                connection,
                name,
                ["maximize"],
                metrics=metrics,
                family=family,
                spec=spec,
                limits=Limits(**limits),
            )
            self.space = spaces.ensure(connection, self.id, DISTRIBUTIONS)

    def try_claim(
        self,
        worker: uuid.UUID | None = None,
        *,
        lease: float = LEASE,
        key: uuid.UUID | None = None,
        x: float = 0.5,
        origin: Origin | None = None,
        labels: Mapping[str, str] = NO_LABELS,
        promotable: Mapping[int, int] = claims.NONE_PROMOTABLE,
    ) -> Claim | None:
        with self.database.statement() as connection:
            return claims.claim(
                connection,
                self.id,
                worker_id=worker or uuid.uuid4(),
                key=key or uuid.uuid4(),
                lease=lease,
                space_id=self.space,
                params=[x],
                origin=origin,
                labels=labels,
                promotable=promotable,
            )

    def claim(self, **arguments: Any) -> Claim:
        claim = self.try_claim(**arguments)
        assert claim is not None
        return claim

    def do(self, function: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        with self.database.statement() as connection:
            return function(connection, *arguments, **more)

    def finish(self, claim: Claim, state: TrialState = TrialState.COMPLETE, **more: Any) -> None:
        values = [0.5] if state is TrialState.COMPLETE else None
        self.do(results.finish, claim, state, values, **more)

    def trials(self) -> list[Trial]:
        loaded: list[Trial] = self.do(feed.load, self.id)
        return loaded

    def study(self) -> Any:
        return self.do(studies.by_id, self.id)

    def fill(self, number: int) -> None:
        """So many complete trials, so that the planner has a reason for its indexes."""
        with self.database.transaction() as connection:
            connection.execute(
                text(
                    "INSERT INTO tuner.trials (study_id, number, state) "
                    "SELECT :study, n, 'complete' FROM generate_series(0, :number) n"
                ),
                {"study": self.id, "number": number},
            )
        with self.database.statement() as connection:
            connection.execute(text("ANALYZE tuner.trials"))

    def lose(self, claim: Claim) -> None:
        """End the lease of a trial as if its worker had been silent for long."""
        with self.database.transaction() as connection:
            connection.execute(
                text(
                    "UPDATE tuner.trials SET lease_until = clock_timestamp() - interval '1 s' "
                    "WHERE id = :id"
                ),
                {"id": claim.id},
            )
        assert [number for _, number, _ in self.do(leases.reap)] == [claim.number]


ROLLED_BACK = "never to be seen"


def one_trial(bench: Bench, rng: random.Random) -> None:
    """Claim, report, and end in one of the ways; commits overtake each other, some roll back."""
    with bench.database.transaction() as connection:
        claimed = claims.claim(
            connection,
            bench.id,
            worker_id=uuid.uuid4(),
            key=uuid.uuid4(),
            lease=LEASE,
            space_id=bench.space,
            params=[rng.random()],
        )
        if claimed is None:
            return
    for step in range(1, rng.randint(1, 4)):
        bench.do(results.report, claimed, [Report(step, rng.random())], lease=LEASE)
    if rng.random() < 0.3:
        with suppress(ZeroDivisionError), bench.database.transaction() as connection:
            results.finish(
                connection, claimed, TrialState.FAILED, cause=Cause.DIVERGED, message=ROLLED_BACK
            )
            raise ZeroDivisionError
    with bench.database.transaction() as connection:
        # the transaction gets its id here and takes a while: others commit meanwhile
        connection.execute(text("SELECT pg_current_xact_id()"))
        for _ in range(rng.randint(0, 20)):
            connection.execute(text("SELECT count(*) FROM tuner.trials"))
        if rng.random() < 0.2:
            leases.requeue(connection, claimed, Cause.PREEMPTED)
        else:
            results.finish(connection, claimed, TrialState.COMPLETE, [rng.random()])


def in_rows(bench: Bench) -> tuple[int, float]:
    """Epochs and seconds as the trials' own rows have them."""
    with bench.database.statement() as connection:
        row = connection.execute(
            text("""
                SELECT coalesce(sum(epochs), 0), coalesce(sum(seconds + CASE
                    WHEN state = 'running' THEN extract(epoch FROM paid_until - started_at)
                    ELSE 0 END), 0)
                FROM tuner.trials WHERE study_id = :id
            """),
            {"id": bench.id},
        ).one()
    return int(row[0]), float(row[1])
