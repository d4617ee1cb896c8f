"""Live updates for every open page, as server-sent events from one listening connection.

    hello    versions of the studies being viewed: a page that was away learns what it missed
    trials   a study has changed: its version, counts, best and, unless they are many, the trials
    study    a study was launched, steered or ended
    resync   the page was too slow to receive all events: it must request everything again

Every page gets every event and picks what it shows. Events that a page missed are not sent again:
it compares versions and requests what differs.
"""

import asyncio
import json
import logging
import math
import os
import select
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any

from tuner.dashboard.plots.live_studies import LiveStudies, LiveStudy
from tuner.dashboard.plots.selection import rank
from tuner.database.engine import Database
from tuner.database.hints import TRIALS, WORK, ListeningDatabase
from tuner.errors import DatabaseUnreachableError, StudyNotFoundError

POLL = 2.0  # seconds between reads without a hint, because a hint can get lost
RETRY = 1.0  # seconds between attempts to reach the database
KEEP_ALIVE = 15.0  # seconds between comments that keep a proxy from closing a silent stream
CHECK = 5.0  # seconds between checks of a page's session or token
MAX_TRIALS = 50  # trials in one event; if there are more, the page requests its figures again
BACKLOG = 200  # events that a slow page may be behind

_log = logging.getLogger(__name__)


class Stream:
    """Listens in its own thread; pages subscribe from the event loop."""

    def __init__(self, database: Database, live_studies: LiveStudies, *, listen: bool) -> None:
        self._database = database
        self._live_studies = live_studies
        self._listen = listen
        self._pages: set[tuple[asyncio.AbstractEventLoop, asyncio.Queue[str | None]]] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._wakes = os.eventfd(0, os.EFD_CLOEXEC)  # wakes the thread up
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)
        live_studies.on_change(self.send_trials)

    def start(self) -> None:
        """Start listening."""
        self._thread.start()

    def close(self) -> None:
        """End all streams and the thread."""
        self._ended.set()
        os.eventfd_write(self._wakes, 1)
        self._send(None)
        if self._thread.is_alive():
            self._thread.join(2 * POLL)

    # Pages

    async def events(self, is_allowed: Callable[[], bool]) -> AsyncIterator[str]:
        """A page's stream, until the page closes, loses its access or the server ends.

        `is_allowed` says whether it still has access; it is called every few seconds and may block.
        """
        page = (asyncio.get_running_loop(), asyncio.Queue[str | None](BACKLOG))
        with self._lock:
            self._pages.add(page)
        try:
            yield "retry: 1000\n\n" + _event("hello", {"versions": self._live_studies.versions()})
            loop = page[0]
            checked_at = sent_at = loop.time()
            while not self._ended.is_set():
                try:
                    event = await asyncio.wait_for(page[1].get(), CHECK)
                except TimeoutError:
                    event = ""
                if event is None:
                    return
                if loop.time() - checked_at >= CHECK:
                    if not await asyncio.to_thread(is_allowed):
                        return
                    checked_at = loop.time()
                if event or loop.time() - sent_at >= KEEP_ALIVE:
                    yield event or ":\n\n"
                    sent_at = loop.time()
        finally:
            with self._lock:
                self._pages.discard(page)

    def _send(self, event: str | None) -> None:
        with self._lock:
            pages = list(self._pages)
        for loop, queue in pages:
            with suppress(RuntimeError):  # the loop has ended with its server
                loop.call_soon_threadsafe(_put, queue, event)

    # Changes

    def send_trials(self, study_id: int, live_study: LiveStudy, changed: Sequence[int]) -> None:
        """Tell every page what changed in a study; the caller holds the study's lock."""
        live = live_study.trials
        best = rank(live, live.feasible)[:1].tolist()
        event: dict[str, Any] = {
            "study": study_id,
            "version": live_study.version,
            "counts": {state.value: n for state, n in live.counts.items()},
            "best": best[0] if best else None,
        }
        if len(changed) <= MAX_TRIALS:
            event["trials"] = [
                [t.number, t.state.value, _rounded(t.value)] for t in live.trials(changed)
            ]
            event["steps"] = [
                [number, row.steps[-1], _rounded(row.report_values[-1])]
                for number in changed
                if (row := live.running.get(number)) and row.steps and row.report_values
            ]
        self._send(_event("trials", event))

    def _run(self) -> None:
        trials = ListeningDatabase(self._database, TRIALS, listen=self._listen)
        work = ListeningDatabase(self._database, WORK, listen=self._listen)
        try:
            while not self._ended.is_set():
                try:
                    self._read_changes(trials, work)
                except DatabaseUnreachableError as error:
                    _log.warning("%s", error)
                    self._ended.wait(RETRY)
                except Exception:
                    # one error must not end every page's stream
                    _log.exception("live updates continue after an error")
                    self._ended.wait(RETRY)
        finally:
            trials.close()
            work.close()

    def _read_changes(self, trials: ListeningDatabase, work: ListeningDatabase) -> None:
        for listening in (trials, work):
            if listening.fileno() is None:
                with listening.statement():
                    pass  # connects, and so listens
        # a statement may have received a hint, and then nothing would wake the thread up
        hinted, steered = trials.read_hints(), work.read_hints()
        if not hinted | steered:
            self._wait(trials, work)
            hinted, steered = trials.read_hints(), work.read_hints()
        if self._ended.is_set():
            return
        for study_id in steered:
            self._send(_event("study", {"study": study_id}))
        # without a hint all are read, because one may have got lost
        for study_id in hinted | steered or self._live_studies.ids():
            try:
                is_viewed = self._live_studies.refresh(study_id, trials)
            except StudyNotFoundError:
                self._send(_event("study", {"study": study_id}))
                continue
            if not is_viewed:  # lists show it all the same
                self._send(_event("trials", {"study": study_id}))

    def _wait(self, *listening: ListeningDatabase) -> None:
        poll = select.poll()
        for wakes in (self._wakes, *(database.fileno() for database in listening)):
            if wakes is not None:
                poll.register(wakes, select.POLLIN)
        poll.poll(1000 * POLL)


def _put(queue: asyncio.Queue[str | None], event: str | None) -> None:
    if queue.full():
        while not queue.empty():
            queue.get_nowait()
        if event is not None:
            event = _event("resync", {})
    queue.put_nowait(event)


def _event(name: str, data: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


def _rounded(value: float | None) -> float | None:
    """To six digits; None for what JSON cannot hold."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
