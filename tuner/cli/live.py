"""The live view of running studies: counts, best, a sparkline, time left.

A thread reads the database incrementally and draws on standard error, so the view shows what all
workers do, not only this process. Without a terminal, it prints one line per change and study, at
most every ten seconds.
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

from tuner.cli.output import STATE_STYLE, describe_optuna_trials, duration, literal, number, param
from tuner.database import studies
from tuner.database.engine import Connected
from tuner.database.hints import ListeningDatabase
from tuner.database.readers.feed import Feed
from tuner.errors import TunerError, visible
from tuner.study_file.messages import counted
from tuner.trials import Study, Trial, TrialState, best_so_far, best_trial, count_finished
from tuner.winner import feasibility

PERIOD = 0.5  # seconds between reads
LISTENING_PERIOD = 2.0  # seconds between reads while hints announce changes
SHORTEST = 0.1  # seconds between reads, whatever the hints say
LINE_PERIOD = 10.0  # seconds between lines without a terminal
RATE_WINDOW = 120.0  # seconds over which trials per minute are counted
SPARK = "▁▂▃▄▅▆▇█"
SPARK_WIDTH = 48

_log = logging.getLogger(__name__)


class LiveView:
    """Draws studies while its block runs."""

    def __init__(
        self, database: ListeningDatabase, studies: Sequence[Study], console: Console
    ) -> None:
        """`database` is closed at the end of the block."""
        self._database = database
        self._studies = [_StudyProgress(study) for study in studies]
        self._console = console
        self._stopped = threading.Event()
        self._end, self._ended = socket.socketpair()  # ends a wait when the block ends
        self._thread = threading.Thread(target=self._watch, name="live view", daemon=True)
        self.note = ""  # a line below the studies

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
        with contextlib.suppress(OSError):  # the terminal or the reader is gone
            self._draw()

    def _draw(self) -> None:
        if self._console.is_terminal:
            with Live(console=self._console, auto_refresh=False, transient=True) as live:
                while True:
                    last = self._stopped.is_set()
                    self._refresh()
                    live.update(self._render(), refresh=True)
                    if last:
                        return
                    self._wait()
        while True:
            last = self._stopped.is_set()
            self._refresh()
            for progress in self._studies:
                line = progress.next_line(named=len(self._studies) > 1, is_last=last)
                if line is not None:
                    self._console.print(line)
            if last:
                return
            self._wait()

    def _wait(self) -> None:
        """Wait until something may have changed."""
        self._stopped.wait(SHORTEST)
        hints = self._database.fileno()
        poll = select.poll()
        for wakes in (self._ended.fileno(), hints):
            if wakes is not None:
                poll.register(wakes, select.POLLIN)
        poll.poll(1000 * (PERIOD if hints is None else LISTENING_PERIOD))
        self._database.read_hints()

    def _refresh(self) -> None:
        try:
            with self._database.statement() as connection:
                for progress in self._studies:
                    progress.refresh(connection)
        except TunerError as error:
            _log.info("%s", error)  # the worker reports it too

    def _render(self) -> RenderableType:
        parts = [part for progress in self._studies for part in progress.render()]
        if self.note:
            parts.append(Text(self.note, style="yellow"))
        return Group(*parts)


class _StudyProgress:
    """One study of the view."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._feed = Feed(study.id, metrics=False)
        self._trials: dict[int, Trial] = {}
        self._printed = ""  # the latest line
        self._due = 0.0  # when the next one may be printed, on the monotonic clock

    def refresh(self, connection: Connected) -> None:
        """Read what changed."""
        self._study = studies.by_id(connection, self._study.id)
        for row in self._feed.poll(connection):
            self._trials[row.number] = self._feed.trial(row)

    def _counts(self) -> dict[TrialState, int]:
        counts = dict.fromkeys(TrialState, 0)
        for trial in self._trials.values():
            counts[trial.state] += 1
        return counts

    def next_line(self, *, named: bool, is_last: bool = False) -> str | None:
        """Return the progress line if it changed and is due."""
        line = self.line(named=named) if self._trials else self._printed
        if line == self._printed or not (is_last or time.monotonic() >= self._due):
            return None
        self._printed, self._due = line, time.monotonic() + LINE_PERIOD
        return line

    def line(self, *, named: bool) -> str:
        """Return the progress in one line."""
        counts, best = self._counts(), best_trial(self._trials.values(), self._study.direction)
        finished_count = count_finished(counts)
        text = f"{literal(self._study.name)}: " if named else ""
        limit = self._study.max_trials
        text += (
            f"{finished_count}/∞ trials"
            if limit is None
            else f"{finished_count}/{counted(limit, 'trial')}"
        )
        text += "".join(f", {n} {state}" for state, n in counts.items() if n)
        if best is not None:
            metric = literal(self._study.metric)
            text += f"; best {metric} {number(best.value)} (trial {best.number})"
        elif counts[TrialState.COMPLETE] and any(t.constraints for t in self._trials.values()):
            text += "; no complete trial is feasible yet"
        if held_up := self._blocked_by_optuna():
            text += f"; {literal(held_up)}"
        return text

    def _blocked_by_optuna(self) -> str | None:
        """Warn if only trials run through Optuna are unfinished: these may never end."""
        unfinished = [t for t in self._trials.values() if not t.state.is_finished]
        most = self._study.max_trials
        if (
            most is None
            or self._study.issued < most
            or not all(t.ran_in_optuna for t in unfinished)
        ):
            return None
        return describe_optuna_trials(self._study, unfinished)

    def render(self) -> list[RenderableType]:
        """Return the progress as a few lines."""
        study, trials = self._study, list(self._trials.values())
        counts = self._counts()
        finished_count = count_finished(counts)
        best = best_trial(trials, study.direction)
        rate = _per_minute(trials)

        head = Table.grid(padding=(0, 2), expand=False)
        head.add_row(
            Text(study.name, style="bold"),
            ProgressBar(
                total=study.max_trials or max(finished_count, 1),
                completed=finished_count,
                width=40,
                complete_style="green",
                finished_style="green",
            ),
            Text(f"{finished_count}/{study.max_trials or '∞'}"),
            Text(_time_left(study, finished_count, rate), style="dim"),
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
        elif infeasible := feasibility.describe_infeasible(trials, study):
            parts.append(Text(f"no best trial: {visible(infeasible)}", style="yellow"))
        if held_up := self._blocked_by_optuna():
            parts.append(Text(visible(held_up), style="yellow"))
        return parts


def _best(study: Study, best: Trial) -> RenderableType:
    """Return the best value, and below it the parameters in as many columns as fit."""
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
    """Return trials ended per minute, over the last `RATE_WINDOW` seconds or since the first."""
    ends = [t.finished_at.timestamp() for t in trials if t.finished_at is not None]
    starts = [t.started_at.timestamp() for t in trials if t.started_at is not None]
    if not ends:
        return 0.0
    now = datetime.now(UTC).timestamp()
    since = max(min(starts), now - RATE_WINDOW)
    return sum(end >= since for end in ends) / max(now - since, 1.0) * 60


def _time_left(study: Study, finished_count: int, rate: float) -> str:
    if study.max_trials is None or not rate:
        return ""
    seconds = (study.max_trials - finished_count) / rate * 60
    return f"{duration(seconds)} left" if finished_count < study.max_trials else ""


def sparkline(values: Sequence[float]) -> str:
    """Draw the latest `SPARK_WIDTH` values as a line of blocks."""
    recent = [v for v in values if math.isfinite(v)][-SPARK_WIDTH:]
    if not recent:
        return ""
    low, high = min(recent), max(recent)
    span = (high - low) or 1.0
    return "".join(SPARK[round((v - low) / span * (len(SPARK) - 1))] for v in recent)
