"""The studies that a worker serves: which are active, whose turn it is, when one is over.

One `Search` per active study that this worker may serve. It is made when the study appears, made
anew when its limits change, and dropped when the study is not active any more.
"""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from uuid import UUID

from tuner import artifacts
from tuner.database import devices, results, serving, studies
from tuner.database.engine import Connected, Database
from tuner.database.serving import ActiveStudy
from tuner.errors import StudyNotFoundError
from tuner.search.claim import Search
from tuner.search.class_search import make_search
from tuner.settings import Settings
from tuner.study_file.code import USER_CODE_FAMILIES
from tuner.trials import StudyState
from tuner.worker.admission import Admission
from tuner.worker.consent import Consent
from tuner.worker.timers import Timers

AT_ONCE = 100  # folders to remove files from: leases are renewed in between


class ServedStudies:
    """Owned by the worker's loop; running trials look their study's search up here."""

    def __init__(
        self,
        database: Database,
        timers: Timers,
        *,
        only: Collection[str],
        labels: Mapping[str, str],
        settings: Settings,
        consent: Consent,
    ) -> None:
        """Serve the studies named in `only`, all if it is empty, that ask for these `labels`."""
        self.searches: dict[int, Search] = {}  # by study id: of active studies
        self.none_is_active = False  # as far as the last look says
        self.need_torch = True  # whether one of them, or one that may come, trains with torch
        self.failing: set[int] = set()  # studies of which trials have failed just now
        self.last_claim_was_empty = True
        self.superfluous: list[Path] = []  # folders of attempts that no other follows
        self._database = database
        self._timers = timers
        self._only = frozenset(only)
        self._labels = labels
        self._settings = settings
        self._lease = settings.lease_seconds
        self._consent = consent

    # Which there are

    def find_active(self, connection: Connected) -> dict[int, ActiveStudy]:
        """Read the active studies that this worker may serve, by id."""
        return {
            study.id: study
            for study in serving.active(connection, labels=self._labels)
            if (not self._only or study.name in self._only) and self._consent.allows(study)
        }

    def update(self, active: Mapping[int, ActiveStudy], stop_trials: Callable[[int], None]) -> None:
        """Serve exactly these studies; `stop_trials` of those that somebody has stopped."""
        for study_id in self.searches.keys() - active.keys():
            if not self._end(study_id):
                stop_trials(study_id)
        for study_id, study in active.items():
            search = self.searches.get(study_id)
            if search is None or search.study.revision != study.revision:
                self._begin(study_id)
        self.none_is_active = not active
        self.need_torch = not active or any(
            s.family not in USER_CODE_FAMILIES for s in active.values()
        )

    def _begin(self, study_id: int) -> None:
        """Serve a study that is new here or whose limits have changed."""
        with self._database.statement() as connection:
            try:
                study = studies.by_id(connection, study_id)
            except StudyNotFoundError:  # deleted just now
                return
        spec = self._consent.read_spec(study, is_required=study.name in self._only)
        if (
            spec is not None
            and self._consent.has_code(study, spec.code)
            and self._consent.allows_classes(study, spec)
        ):
            reaches = partial(artifacts.has_attempt, self._settings, study_id)
            if (before := self.searches.pop(study_id, None)) is not None:
                before.close()
            self.searches[study_id] = make_search(self._database, study, spec, reaches)
            self._timers.run_now("claim", "peaks")

    def _end(self, study_id: int) -> bool:
        """Stop serving a study; whether it finished on its own, so its trials may run on."""
        with self._database.statement() as connection:
            try:
                has_finished = studies.by_id(connection, study_id).state is StudyState.FINISHED
            except StudyNotFoundError:
                has_finished = False
            if has_finished and self.searches[study_id].promotes:
                numbers = results.list_never_promoted(connection, study_id)
                self.superfluous += artifacts.list_attempts(self._settings, study_id, numbers)
        self.searches.pop(study_id).close()  # not before: without an answer this is tried again
        return has_finished

    def remove_some_files(self) -> None:
        """Remove what trials have saved that were never promoted; a part at a time."""
        some, self.superfluous = self.superfluous[:AT_ONCE], self.superfluous[AT_ONCE:]
        artifacts.remove_checkpoints(some)
        artifacts.remove_user_files(some)

    # Whose sampler takes longer

    def advance(self, worker_id: UUID) -> None:
        """Go on with proposals that samplers in processes of their own make."""
        for search in list(self.searches.values()):
            search.advance(worker_id, self._lease)

    @property
    def is_busy(self) -> bool:
        """Whether trials wait for a proposal."""
        return any(search.is_busy for search in self.searches.values())

    def close(self) -> None:
        """End what belongs to the searches, for the worker stops."""
        for search in self.searches.values():
            search.close()

    # Whose turn it is

    def in_turn(self) -> list[int]:
        """The studies that may have a trial to give, the next one first.

        One statement however many there are: a worker without work asks once per poll. None at all
        for a single study that gave a trial just now.
        """
        ids = list(self.searches)
        if not ids or (len(ids) == 1 and not self.last_claim_was_empty):
            return ids
        due = {
            id_: search.promotions.due for id_, search in self.searches.items() if search.promotes
        }
        with self._database.statement() as connection:
            return serving.in_turn(connection, ids, labels=self._labels, lease=self._lease, due=due)

    # When one is over

    def finish_done(self) -> None:
        """Finish the studies that are over."""
        if not self.searches:
            return
        reasons = {id_: search.reason_to_end() for id_, search in self.searches.items()}
        promoting = [id_ for id_, search in self.searches.items() if search.promotes]
        with self._database.statement() as connection:
            finished = serving.finish_if_done(
                connection,
                [id_ for id_, r in reasons.items() if r is None and id_ not in promoting],
                lease=self._lease,
            )
            for study_id, reason in reasons.items():
                if reason is not None and serving.finish(connection, study_id, reason):
                    finished.append(study_id)
            for study_id, search in self.searches.items():
                used_up = search.used_up
                if (
                    used_up is not None
                    and study_id not in promoting
                    and serving.finish_if_idle(connection, study_id, used_up)
                ):
                    finished.append(study_id)
        finished += [id_ for id_ in promoting if reasons[id_] is None and self._close(id_)]
        if finished:
            self._timers.run_now("studies")

    def _close(self, study_id: int) -> bool:
        """Finish a study whose trials pause, once nothing new comes and none of them is due."""
        search = self.searches[study_id]
        search.refresh()
        known, used_up = search.known, search.used_up
        assert known is not None
        with self._database.statement() as connection:
            if used_up is None:
                used_up = serving.used_up(connection, study_id, lease=self._lease)
            promotions = search.promotions
            was_closing, promotions.is_closing = promotions.is_closing, used_up is not None
            due = promotions.due
            if not promotions.is_closing:
                return False
            if serving.finish_if_settled(
                connection, study_id, lease=self._lease, due=due, known=known
            ):
                return True
            if search.used_up is not None and not due:
                return serving.finish_if_idle(connection, study_id, search.used_up, known=known)
        if due and not was_closing:
            self._timers.run_now("claim")
        return False

    def pause_failing(self) -> None:
        """Pause those of the failing studies whose last trials all failed from one cause."""
        with self._database.statement() as connection:
            if serving.pause_if_failing(connection, list(self.failing)):
                self._timers.run_now("studies")
        self.failing.clear()

    # What their trials need

    def learn_peaks(self, admission: Admission) -> None:
        """Tell `admission` what memory the trials of all workers have taken."""
        for study_id, search in self.searches.items():
            with self._database.statement() as connection:
                peaks = devices.peaks(connection, study_id)
            search.refresh_if_old()
            for number, params in search.params(list(peaks)).items():
                admission.learn(search, params, *peaks[number])
