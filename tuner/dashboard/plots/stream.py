"""What changes, told to every open page as server-sent events, from one connection that listens.

    hello    versions of the studies that are looked at: a page that was away learns what it missed
    trials   a study has changed: its version, counts, best and, unless they are many, the trials
    study    a study was launched, steered or ended
    resync   the page was too slow to take what happened: it has to ask anew

Every page gets every event, and takes what it shows. A page that was away is told no events of that
time: it compares versions, and asks for what differs.
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

from tuner.dashboard.plots.live_studies import Seen, Watched
from tuner.dashboard.plots.selection import ranked
from tuner.database.engine import Database
from tuner.database.hints import TRIALS, WORK, ListeningDatabase
from tuner.errors import DatabaseUnreachableError, StudyNotFoundError

LOOK = 2.0  # seconds between looks without a hint: one can get lost
RETRY = 1.0  # seconds between attempts to reach the database
ALIVE = 15.0  # seconds between comments that keep a proxy from closing a silent stream
ASK = 5.0  # seconds between looks at whether a page's session or token still holds
MOST = 50  # trials told in one event; beyond, the page asks for figures anew
WAITING = 200  # events that a slow page may be behind

_log = logging.getLogger(__name__)


class Stream:
    """Listens in a thread of its own; pages subscribe from the event loop."""

    def __init__(self, database: Database, watched: Watched, *, listen: bool) -> None:
        self._database = database
        self._watched = watched
        self._listen = listen
        self._pages: set[tuple[asyncio.AbstractEventLoop, asyncio.Queue[str | None]]] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._wakes = os.eventfd(0, os.EFD_CLOEXEC)  # what ends the thread's waiting
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)
        watched.on_change(self.tell_trials)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """End all streams and the thread."""
        self._ended.set()
        os.eventfd_write(self._wakes, 1)
        self._send(None)
        if self._thread.is_alive():
            self._thread.join(2 * LOOK)

    # Pages

    async def events(self, is_allowed: Callable[[], bool]) -> AsyncIterator[str]:
        """A page's stream, until it goes, may not look any more or the server ends.

        `is_allowed` may take a moment; it is asked every few seconds.
        """
        page = (asyncio.get_running_loop(), asyncio.Queue[str | None](WAITING))
        with self._lock:
            self._pages.add(page)
        try:
            yield "retry: 1000\n\n" + _event("hello", {"versions": self._watched.versions()})
            loop = page[0]
            asked = written = loop.time()
            while not self._ended.is_set():
                try:
                    event = await asyncio.wait_for(page[1].get(), ASK)
                except TimeoutError:
                    event = ""
                if event is None:
                    return
                if loop.time() - asked >= ASK:
                    if not await asyncio.to_thread(is_allowed):
                        return
                    asked = loop.time()
                if event or loop.time() - written >= ALIVE:
                    yield event or ":\n\n"
                    written = loop.time()
        finally:
            with self._lock:
                self._pages.discard(page)

    def _send(self, event: str | None) -> None:
        with self._lock:
            pages = list(self._pages)
        for loop, queue in pages:
            with suppress(RuntimeError):  # the loop has ended with its server
                loop.call_soon_threadsafe(_put, queue, event)

    # What happens

    def tell_trials(self, study_id: int, seen: Seen, changed: Sequence[int]) -> None:
        """Tell every page what changed in a study, whose lock the caller holds."""
        live = seen.live
        best = ranked(live, live.feasible)[:1].tolist()
        told: dict[str, Any] = {
            "study": study_id,
            "version": seen.version,
            "counts": {state.value: n for state, n in live.counts.items()},
            "best": best[0] if best else None,
        }
        if len(changed) <= MOST:
            told["trials"] = [
                [t.number, t.state.value, _shown(t.value)] for t in live.trials(changed)
            ]
            told["steps"] = [
                [number, row.steps[-1], _shown(row.report_values[-1])]
                for number in changed
                if (row := live.running.get(number)) and row.steps and row.report_values
            ]
        self._send(_event("trials", told))

    def _run(self) -> None:
        trials = ListeningDatabase(self._database, TRIALS, listen=self._listen)
        work = ListeningDatabase(self._database, WORK, listen=self._listen)
        try:
            while not self._ended.is_set():
                try:
                    self._look(trials, work)
                except DatabaseUnreachableError as error:
                    _log.warning("%s", error)
                    self._ended.wait(RETRY)
                except Exception:
                    # what went wrong once must not end every page's stream
                    _log.exception("the stream of events goes on after an error")
                    self._ended.wait(RETRY)
        finally:
            trials.close()
            work.close()

    def _look(self, trials: ListeningDatabase, work: ListeningDatabase) -> None:
        for listening in (trials, work):
            if listening.fileno() is None:
                with listening.statement():
                    pass  # connects, and so listens
        # a statement may have taken in a hint, after which there is nothing to wake up for
        hinted, steered = trials.read_hints(), work.read_hints()
        if not hinted | steered:
            self._wait(trials, work)
            hinted, steered = trials.read_hints(), work.read_hints()
        if self._ended.is_set():
            return
        for study_id in steered:
            self._send(_event("study", {"study": study_id}))
        # without a hint all are looked at, for one may have got lost
        for study_id in hinted | steered or self._watched.ids():
            try:
                known = self._watched.refresh(study_id, trials)
            except StudyNotFoundError:
                self._send(_event("study", {"study": study_id}))
                continue
            if not known:  # nobody looks at it closely, but lists show it
                self._send(_event("trials", {"study": study_id}))

    def _wait(self, *listening: ListeningDatabase) -> None:
        poll = select.poll()
        for wakes in (self._wakes, *(database.fileno() for database in listening)):
            if wakes is not None:
                poll.register(wakes, select.POLLIN)
        poll.poll(1000 * LOOK)


def _put(queue: asyncio.Queue[str | None], event: str | None) -> None:
    if queue.full():
        while not queue.empty():
            queue.get_nowait()
        if event is not None:
            event = _event("resync", {})
    queue.put_nowait(event)


def _event(name: str, data: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


def _shown(value: float | None) -> float | None:
    """Six digits, which JSON can hold."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
