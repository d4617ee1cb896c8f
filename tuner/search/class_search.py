"""The search of a study whose sampler or pruner is a class that its file names.

Such a class runs in a process of its own (`plugins/`). Where the sampler is one, a claim takes a
trial without parameters, and the worker that leads proposes for it; until then, the trial keeps its
executor and its lease.
"""

import json
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tuner.database import attributes, proposals, studies
from tuner.database.claims import Claim
from tuner.database.engine import Connected, Database
from tuner.errors import DatabaseUnreachableError
from tuner.search.claim import ClaimedTrial, Search
from tuner.search.distributions import internal
from tuner.search.plugins.client import Client, Feed, begin_message
from tuner.search.plugins.judge import Judge
from tuner.search.plugins.leader import Leader
from tuner.search.proposal import Proposal
from tuner.search.record import Record, new_row
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.seeds import derived_seed
from tuner.trials import ParamValue, Report, Study, StudyState, TrialState


def make_search(
    database: Database,
    study: Study,
    spec: ResolvedSpec,
    reaches: Callable[[int, int], bool] = lambda number, attempt: True,
) -> Search:
    """Make the search of a study; `reaches` as in `Search`."""
    is_class = spec.sampler.class_name is not None or spec.pruner.class_name is not None
    return (ClassSearch if is_class else Search)(database, study, spec, reaches)


class ClassSearch(Search):
    """The search of one study; not shared between threads."""

    def __init__(
        self,
        database: Database,
        study: Study,
        spec: ResolvedSpec,
        reaches: Callable[[int, int], bool],
    ) -> None:
        super().__init__(database, study, spec, reaches)
        self._leader: Leader | None = None
        self._judge: Judge | None = None
        self._worker_id: uuid.UUID | None = None
        self._is_paused = False
        has_parameters = bool(self._proposer.distributions(dict.fromkeys(spec.space.parameters)))
        if spec.sampler.class_name is not None and has_parameters:
            feed = self._feed()
            self._leader = Leader(
                database,
                study.id,
                spec.sampler.class_name,
                self._client("sampler", feed),
                feed,
                self._proposer.pick_past,
                self._proposer.allowed_expected,
                self._proposer.propose,
                self._store,
            )
        if spec.pruner.class_name is not None:
            client = self._client("pruner", self._feed())
            self._judge = Judge(spec.pruner.class_name, client, self._remember)
            self._judge.start()

    def _feed(self) -> Feed:
        feed = Feed(self._history, self._proposer.fits)
        self._history.watch(feed)
        return feed

    def _client(self, role: str, feed: Feed) -> Client:
        seed = derived_seed(self.spec.seed, role)
        begin = begin_message(role, self.study.name, self.spec, self.study.directions, seed)
        return Client(begin, feed)

    # Proposing

    def _claim(
        self, worker_id: uuid.UUID, lease: float, labels: Mapping[str, str]
    ) -> ClaimedTrial | None:
        if self._leader is None:
            return super()._claim(worker_id, lease, labels)
        self._worker_id = worker_id
        claimed: Claim | None = None
        if promotable := self.promotions.within_reach(lease):
            claimed = self._insert(worker_id, lease, labels, None, promotable)
        if claimed is None:
            claimed = self._insert(worker_id, lease, labels, None, undrawn=True)
        if claimed is None:
            return None
        self.promotions.note_claim(claimed)
        trial = ClaimedTrial(claimed, {}, self._sent_at, is_drawn=False)
        if claimed.params:
            self.refresh()
            return self.drawn(trial) or trial
        row = new_row(claimed.id, claimed.number, TrialState.RUNNING, [])._replace(
            attempt=claimed.attempt,
            system_attrs=attributes.encode({"fixed_params": dict(claimed.fixed_params)}),
        )
        self._history.add(row, {})
        self.advance(worker_id, lease)
        return trial

    def drawn(self, trial: ClaimedTrial) -> ClaimedTrial | None:
        """Return a claimed trial with its parameters; None as long as it has none."""
        if trial.is_drawn:
            return trial
        stored = self._history.get(trial.number)
        if stored is None or not stored.params:
            self.refresh_if_old()
            stored = self._history.get(trial.number)
        if stored is None or not stored.params:
            return None
        return replace(trial, params=self._proposer.complete(stored.params), is_drawn=True)

    def advance(self, worker_id: uuid.UUID, lease: float) -> None:
        """Propose for trials without parameters, if this worker leads."""
        self._worker_id = worker_id
        if self._leader is not None:
            # a leader whose own trials are silent must still see those that other workers claim
            if self._leader.is_busy or self._leader.is_leading:
                self.refresh_if_old()
            self._leader.advance(worker_id, lease)
        if self._judge is not None and self._judge.unusable is not None and not self._is_paused:
            self._is_paused = True
            with self._database.statement() as connection:
                studies.set_state(
                    connection,
                    self.study.id,
                    StudyState.PAUSED,
                    allowed=[StudyState.ACTIVE],
                    reason=self._judge.unusable,
                )

    @property
    def is_busy(self) -> bool:
        """Whether trials wait for parameters."""
        return self._leader is not None and self._leader.is_busy

    def _store(
        self, connection: Connected, record: Record, proposal: Proposal, attrs: Mapping[str, Any]
    ) -> bool:
        assert self._worker_id is not None
        params: Mapping[str, ParamValue] = proposal.params
        distributions = self._proposer.distributions(params)
        values = internal(params, distributions)
        is_stored = proposals.store(
            connection,
            record.row.id,
            worker_id=self._worker_id,
            space_id=self._ensure(connection, params),
            params=values,
            origin=proposal.origin,
            attrs=attrs,
        )
        if is_stored:  # known before it is read back
            stored = json.loads(record.row.system_attrs) | json.loads(attributes.encode(attrs))
            row = record.row._replace(params=values, system_attrs=json.dumps(stored))
            self._history.add(row, distributions)
        return is_stored

    # Pruning

    def should_prune(self, trial: ClaimedTrial, report: Report) -> bool:
        """Take note of a report of this worker's own trial; whether to prune the trial now."""
        if self._judge is None:
            return super().should_prune(trial, report)
        return self._judge.should_prune(trial.number, report)

    def explain_pruning(self, trial: ClaimedTrial, report: Report) -> str | None:
        """Return why `should_prune`, called just before with the same arguments, was true."""
        if self._judge is None:
            return super().explain_pruning(trial, report)
        return f"{self.spec.pruner.class_name} ended it at step {report.step}"

    def _remember(self, number: int, attrs: Mapping[str, Any]) -> None:
        record = self._history.record(number)
        if record is not None:
            with suppress(DatabaseUnreachableError), self._database.statement() as connection:
                proposals.add_attributes(connection, record.row.id, attrs)

    # The end

    def reason_to_end(self) -> str | None:
        """Return why the study is over before its budget is used; None if it is not."""
        reason = None if self._leader is None else self._leader.reason_to_end
        return reason or super().reason_to_end()

    def close(self) -> None:
        """End the processes, and let another worker lead."""
        if self._judge is not None:
            self._judge.close()
        if self._leader is not None:
            with suppress(DatabaseUnreachableError):
                self._leader.close(self._worker_id)
