"""The live view of studies while they run: counts, best, a sparkline, time left.

Drawn on standard error by a thread of its own that reads the database incrementally, so it shows
what all workers do, not only this process's. Without a terminal it prints a line when something has
changed, of each study one every ten seconds at most.
"""

import contextlib
import logging
import math
import select
import socket
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tuner.cli.output import (
    STATE_STYLE,
    duration,
    number,
    param,
    running_in_optuna,
    shown,
)
from tuner.database import studies
from tuner.database.engine import Connected
from tuner.database.hints import ListeningDatabase
from tuner.database.readers.feed import Feed
from tuner.errors import TunerError, visible
from tuner.study_file.messages import counted
from tuner.trials import Study, Trial, TrialState, best_so_far, best_trial, finished

PERIOD = 0.5  # seconds between looks
LISTENING_PERIOD = 2.0  # while hints say when there is something to see
SHORTEST = 0.1  # seconds between two looks, whatever the hints say
LINE_PERIOD = 10.0  # seconds between lines where there is no terminal
RATE_WINDOW = 120.0  # seconds over which trials a minute are counted
SPARK = "▁▂▃▄▅▆▇█"
SPARK_WIDTH = 48

_log = logging.getLogger(__name__)


class LiveView:
    """A context manager: draws while the block runs."""

    def __init__(
        self, database: ListeningDatabase, studies: Sequence[Study], console: Console
    ) -> None:
        """`database` is closed at the end."""
        self._database = database
        self._studies = [_Watched(study) for study in studies]
        self._console = console
        self._stopped = threading.Event()
        self._end, self._ended = socket.socketpair()  # so that a wait ends when the block does
        self._thread = threading.Thread(target=self._watch, name="live view", daemon=True)
        self.note = ""  # a line below, as while stopping

    def __enter__(self) -> "LiveView":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._end.close()
        self._thread.join()
        self._ended.close()
        self._database.close()

    def _watch(self) -> None:
        with contextlib.suppress(OSError):  # the terminal, or who reads the lines, has gone
            self._draw()

    def _draw(self) -> None:
        if self._console.is_terminal:
            with Live(console=self._console, auto_refresh=False, transient=True) as live:
                while True:
                    last = self._stopped.is_set()
                    self._look()
                    live.update(self._render(), refresh=True)
                    if last:
                        return
                    self._wait()
        while True:
            last = self._stopped.is_set()
            self._look()
            for watched in self._studies:
                line = watched.news(named=len(self._studies) > 1, is_last=last)
                if line is not None:
                    self._console.print(line)
            if last:
                return
            self._wait()

    def _wait(self) -> None:
        """Wait until there may be something to see."""
        self._stopped.wait(SHORTEST)
        hints = self._database.fileno()
        poll = select.poll()
        for wakes in (self._ended.fileno(), hints):
            if wakes is not None:
                poll.register(wakes, select.POLLIN)
        poll.poll(1000 * (PERIOD if hints is None else LISTENING_PERIOD))
        self._database.read_hints()

    def _look(self) -> None:
        try:
            with self._database.statement() as connection:
                for watched in self._studies:
                    watched.look(connection)
        except TunerError as error:
            _log.info("%s", error)  # the worker says so too

    def _render(self) -> RenderableType:
        parts = [part for watched in self._studies for part in watched.render()]
        if self.note:
            parts.append(Text(self.note, style="yellow"))
        return Group(*parts)


class _Watched:
    """One of the studies."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._feed = Feed(study.id, metrics=False)
        self._trials: dict[int, Trial] = {}
        self._printed = ""  # the latest line
        self._due = 0.0  # when the next one may be printed, on the monotonic clock

    def look(self, connection: Connected) -> None:
        """Read what changed."""
        self._study = studies.by_id(connection, self._study.id)
        for row in self._feed.poll(connection):
            self._trials[row.number] = self._feed.trial(row)

    def _counts(self) -> dict[TrialState, int]:
        counts = dict.fromkeys(TrialState, 0)
        for trial in self._trials.values():
            counts[trial.state] += 1
        return counts

    def news(self, *, named: bool, is_last: bool = False) -> str | None:
        """How it stands, in a line, if that is another than the latest and it is time for it."""
        line = self.line(named=named) if self._trials else self._printed
        if line == self._printed or not (is_last or time.monotonic() >= self._due):
            return None
        self._printed, self._due = line, time.monotonic() + LINE_PERIOD
        return line

    def line(self, *, named: bool) -> str:
        """How it stands, in a line."""
        counts, best = self._counts(), best_trial(self._trials.values(), self._study.direction)
        done = finished(counts)
        text = f"{shown(self._study.name)}: " if named else ""
        most = self._study.max_trials
        text += f"{done}/∞ trials" if most is None else f"{done}/{counted(most, 'trial')}"
        text += "".join(f", {n} {state}" for state, n in counts.items() if n)
        if best is not None:
            metric = shown(self._study.metric)
            text += f"; best {metric} {number(best.value)} (trial {best.number})"
        if held_up := self._held_up():
            text += f"; {shown(held_up)}"
        return text

    def _held_up(self) -> str | None:
        """That nothing but a trial of Optuna's is left to end, which may never do so."""
        unfinished = [t for t in self._trials.values() if not t.state.is_finished]
        most = self._study.max_trials
        if (
            most is None
            or self._study.issued < most
            or not all(t.ran_in_optuna for t in unfinished)
        ):
            return None
        return running_in_optuna(self._study, unfinished)

    def render(self) -> list[RenderableType]:
        """How it stands, in some lines."""
        study, trials = self._study, list(self._trials.values())
        counts = self._counts()
        done = finished(counts)
        best = best_trial(trials, study.direction)
        rate = _per_minute(trials)

        head = Table.grid(padding=(0, 2), expand=False)
        head.add_row(
            Text(study.name, style="bold"),
            ProgressBar(
                total=study.max_trials or max(done, 1),
                completed=done,
                width=40,
                complete_style="green",
                finished_style="green",
            ),
            Text(f"{done}/{study.max_trials or '∞'}"),
            Text(_time_left(study, done, rate), style="dim"),
        )
        states = Text("  ").join(
            Text(f"{state} {n}", style=STATE_STYLE[state] if n else "dim")
            for state, n in counts.items()
            if n or state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED)
        )
        states.append(f"   {rate:.1f} trials/min" if rate else "   starting …", style="dim")
        parts: list[RenderableType] = [head, states]
        if best is not None:
            parts.append(_best(study, best))
            history = [value for _, value in best_so_far(trials, study.direction)]
            values = [
                t.value for t, _ in best_so_far(trials, study.direction) if t.value is not None
            ]
            parts.append(
                Text.assemble(
                    ("history  ", "dim"),
                    (sparkline(values), "cyan"),
                    ("  best so far  ", "dim"),
                    (sparkline(history), "green"),
                )
            )
        if held_up := self._held_up():
            parts.append(Text(visible(held_up), style="yellow"))
        return parts


def _best(study: Study, best: Trial) -> RenderableType:
    """The best value, and under it the parameters in as many columns as there is room for."""
    head = Text.assemble(
        ("best     ", "dim"),
        (f"{study.metric} {number(best.value)}", "bold green"),
        (f"  trial {best.number}", "dim"),
    )
    params = Columns(
        [Text.assemble((f"{n} ", "dim"), param(v)) for n, v in best.params.items()],
        padding=(0, 3),
        column_first=True,
    )
    return Group(head, Padding(params, (0, 0, 0, 9)))


def _per_minute(trials: Sequence[Trial]) -> float:
    """Trials that ended a minute, over the last `RATE_WINDOW` seconds or since the first."""
    ends = [t.finished_at.timestamp() for t in trials if t.finished_at is not None]
    starts = [t.started_at.timestamp() for t in trials if t.started_at is not None]
    if not ends:
        return 0.0
    now = datetime.now(UTC).timestamp()
    since = max(min(starts), now - RATE_WINDOW)
    return sum(end >= since for end in ends) / max(now - since, 1.0) * 60


def _time_left(study: Study, done: int, rate: float) -> str:
    if study.max_trials is None or not rate:
        return ""
    left = (study.max_trials - done) / rate * 60
    return f"{duration(left)} left" if done < study.max_trials else ""


def sparkline(values: Sequence[float]) -> str:
    """Values as a line of blocks, the latest `SPARK_WIDTH` of them."""
    shown = [v for v in values if math.isfinite(v)][-SPARK_WIDTH:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    return "".join(SPARK[round((v - low) / span * (len(SPARK) - 1))] for v in shown)
