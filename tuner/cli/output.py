"""How values look: numbers with sensible digits, tables, JSON, errors."""

import json
import math
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tuner import commands, logs
from tuner.database.engine import Database
from tuner.settings import Settings, settings
from tuner.trials import ParamValue, Study, StudyState, Trial, TrialState

PIPED = 10_000  # columns: a file or another program has no edge to wrap at
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPED)
err = Console(stderr=True, highlight=False, soft_wrap=True)

AsJson = typer.Option(False, "--json", help="Print JSON for scripts.")

STATE_STYLE: Mapping[str, str] = {
    StudyState.ACTIVE: "green",
    StudyState.PAUSED: "yellow",
    StudyState.STOPPED: "red",
    StudyState.FINISHED: "blue",
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.FAILED: "red",
    TrialState.RUNNING: "cyan",
    TrialState.WAITING: "dim",
}


def complain(message: str) -> None:
    """An error, on standard error."""
    err.print(f"[bold red]error:[/] {escape(message)}")


def program() -> list[str]:
    """How the user's shell calls this program: `tuner`, or its path where that is not found."""
    called = Path(sys.argv[0])
    if called.name != "tuner":
        return [Path(sys.executable).name, "-m", "tuner"]
    found = shutil.which("tuner")
    return ["tuner"] if found and Path(found).resolve() == called.resolve() else [str(called)]


@contextmanager
def opened() -> Iterator[tuple[Settings, Database]]:
    """The settings and the open database of this process."""
    chosen = settings()
    logs.configure(chosen.log_level)
    database = commands.open_database(chosen)
    try:
        yield chosen, database
    finally:
        database.close()


def print_json(value: Any) -> None:
    """Any of our records as JSON on standard output; NaN and infinities become null."""
    typer.echo(json.dumps(plain(value), indent=2, ensure_ascii=False))


def plain(value: Any) -> Any:
    """Records, times and paths as JSON's own types."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain({k: getattr(value, k) for k in value.__dataclass_fields__})
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def number(value: float | None, digits: int = 4) -> str:
    """A measured number with as many significant digits as anyone can use."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return str(value)
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        text = f"{value:.{digits}f}" if abs(value) < 10 else f"{value:.{max(digits - 2, 0)}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.{digits - 1}g}"


def param(value: ParamValue) -> str:
    """A parameter's value: numbers shortened, everything else as it is."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def duration(seconds: float | None) -> str:
    """`48 s`, `3 min 20 s`, `5 h 12 min`, `3 d 4 h`."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, size, below, smaller in (
        ("d", 86_400, "h", 3_600),
        ("h", 3_600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{whole} s"


def moment(value: datetime | None) -> str:
    """A time in the user's zone."""
    return "–" if value is None else value.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def state(value: StudyState | TrialState) -> str:
    """A state in its colour, as Rich markup."""
    return f"[{STATE_STYLE[value]}]{value}[/]"


def table(*columns: str, right: frozenset[str] = frozenset()) -> Table:
    """An empty table in the house style."""
    made = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def params_table(params: Mapping[str, ParamValue], *, indent: int = 2) -> Table:
    """Parameters, one a line."""
    made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, indent))
    made.add_column(style="dim")
    made.add_column()
    for name, value in params.items():
        made.add_row(escape(name), escape(param(value)))
    return made


def trial_record(trial: Trial) -> dict[str, Any]:
    """A trial for scripts."""
    record = asdict_shallow(trial)
    record["seconds"] = trial.seconds
    return record


def asdict_shallow(record: Any) -> dict[str, Any]:
    """A dataclass's fields, without copying what they hold."""
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def study_record(study: Study) -> dict[str, Any]:
    """A study for scripts."""
    return asdict_shallow(study)
