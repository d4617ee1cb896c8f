"""One study's search in one worker: what it knows, what it claims next, what it prunes.

A claim draws parameters from what is known, then reserves the budget unit and inserts the trial
with them in one statement. If somebody else claimed in between, the trial's number is another one
than the draw was made for; it is then drawn again with the right seed and the newly known trials.
"""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from tuner.database import spaces, trials
from tuner.database.engine import Database
from tuner.database.trials import Claimed
from tuner.errors import DatabaseUnreachableError
from tuner.search import pruners
from tuner.search.distributions import as_json, internal
from tuner.search.history import History
from tuner.search.sampler import Proposer
from tuner.spec.resolved import ResolvedSpec
from tuner.trials import ParamValue, Report, Study, better

CLAIM_RETRIES = 3
CLAIM_BACKOFF = 0.5  # seconds, doubled at each retry


@dataclass(frozen=True, slots=True)
class Held:
    """A claimed trial with all its parameters, pinned ones included."""

    claimed: Claimed
    params: Mapping[str, ParamValue]

    @property
    def number(self) -> int:
        """The trial's number in its study."""
        return self.claimed.number


class Search:
    """The search of one study; not shared between threads."""

    def __init__(self, database: Database, study: Study, spec: ResolvedSpec) -> None:
        self.study = study
        self.spec = spec
        self._database = database
        self._history = History(study.id)
        self._proposer = Proposer(
            spec.space, spec.sampler, study.directions, spec.seed, self._history
        )
        self._pruner = pruners.make(spec.pruner, study.direction)
        self._space_ids: dict[tuple[str, ...], int] = {}

    def refresh(self) -> None:
        """Learn what other workers have done since the last time."""
        with self._database.statement() as connection:
            changed = self._history.refresh(connection)
        for trial in changed:
            for step, value in trial.intermediate_values.items():
                self._pruner.observe(trial.number, step, value)
            if trial.state is OptunaState.COMPLETE:
                self._pruner.complete(trial.number)

    def claim(self, worker_id: uuid.UUID, lease: float) -> Held | None:
        """Take the next trial; None when the study gives none. `lease` is in seconds.

        Draws from what the latest `refresh` has read.
        """
        expected = self._history.next_number
        params = self._proposer.propose(expected)
        claimed = self._insert(worker_id, lease, params)
        if claimed is None:
            return None
        if claimed.resumed and claimed.params:
            assert claimed.space_id is not None
            if self._history.get(claimed.number) is None:
                self.refresh()  # it was enqueued or interrupted just now, by somebody else
            known = self._history.get(claimed.number)
            assert known is not None
            params = dict(known.params)
        elif claimed.resumed or claimed.number != expected:
            self.refresh()
            params = self._proposer.propose(claimed.number, claimed.fixed_params)
            self._set_params(claimed, params)
        return Held(claimed, self._proposer.complete(params))

    def _insert(
        self, worker_id: uuid.UUID, lease: float, params: Mapping[str, ParamValue]
    ) -> Claimed | None:
        key = uuid.uuid4()
        distributions = self._proposer.distributions(params)
        space_id = self._space_id(params)
        for attempt in range(CLAIM_RETRIES + 1):
            try:
                with self._database.statement() as connection:
                    # a claim whose answer was lost may have happened
                    found = attempt and trials.claimed(
                        connection, self.study.id, worker_id=worker_id, key=key
                    )
                    return found or trials.claim(
                        connection,
                        self.study.id,
                        worker_id=worker_id,
                        key=key,
                        lease=lease,
                        space_id=space_id,
                        params=internal(params, distributions),
                    )
            except DatabaseUnreachableError:
                if attempt == CLAIM_RETRIES:
                    raise
                time.sleep(CLAIM_BACKOFF * 2**attempt)
        raise AssertionError("unreachable")

    def _set_params(self, claimed: Claimed, params: Mapping[str, ParamValue]) -> None:
        distributions = self._proposer.distributions(params)
        with self._database.statement() as connection:
            trials.set_params(
                connection,
                claimed,
                space_id=self._space_id(params),
                params=internal(params, distributions),
            )

    def _space_id(self, params: Mapping[str, ParamValue]) -> int:
        key = tuple(params)
        if key not in self._space_ids:
            with self._database.statement() as connection:
                self._space_ids[key] = spaces.ensure(
                    connection, self.study.id, as_json(self._proposer.distributions(params))
                )
        return self._space_ids[key]

    def should_prune(self, held: Held, report: Report) -> bool:
        """Take note of a report of an own trial; whether the trial ends here."""
        self._pruner.observe(held.number, report.step, report.value)
        return self._pruner.should_prune(held.number, report.step, report.value)

    def reason_to_end(self) -> str | None:
        """Why the study is over before its budget is used, as far as is known; else None."""
        budget = self.spec.budget
        if budget.target is None and budget.patience is None:
            return None
        direction = self.study.direction
        finished = [t for t in self._history.trials if t.state.is_finished()]
        best: FrozenTrial | None = None
        for trial in finished:
            if trial.state is OptunaState.COMPLETE and (
                best is None or better(direction, trial.values[0], best.values[0])
            ):
                best = trial
        if best is None:
            return None
        value = best.values[0]
        if budget.target is not None and not better(direction, budget.target, value):
            return f"trial {best.number} reached the target {budget.target:g} with {value:.6g}"
        if budget.patience is not None:
            later = sum(_ended_after(trial, best) for trial in finished)
            if later >= budget.patience:
                return f"{later} trials have finished without an improvement on trial {best.number}"
        return None


def _ended_after(trial: FrozenTrial, other: FrozenTrial) -> bool:
    if trial.datetime_complete is None or other.datetime_complete is None:
        return False
    return trial.datetime_complete > other.datetime_complete
