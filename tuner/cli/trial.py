"""One trial, as `show --trial` prints it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tuner import study_json
from tuner.cli.output import (
    duration,
    literal,
    moment,
    number,
    out,
    params_table,
    print_json,
    state,
    table,
)
from tuner.database.readers.attempts import LoggedAttempt
from tuner.study_file.messages import counted
from tuner.study_file.origins import describe
from tuner.trial_tables import metric_names, values
from tuner.trials import Study, Trial

if TYPE_CHECKING:
    from tuner.commands.forecasting import Forecast


def print_trial(
    study: Study,
    trial: Trial,
    attempts: Sequence[LoggedAttempt],
    expected: "Forecast | None",
    *,
    as_json: bool,
) -> None:
    """Print a trial: how it was proposed, what came of it, and why it ended as it did.

    `expected` is what it would reach if it went on; None for a complete trial.
    """
    if as_json:
        print_json({"study": study.name, **_record(trial, attempts), "forecast": expected})
        return
    reason = f" ({literal(trial.message)})" if trial.message else ""
    out.print(f"[bold]{literal(study.name)}[/], trial {trial.number}  {state(trial.state)}{reason}")
    listing = table("", "")
    listing.show_header = False
    for name, value in zip(metric_names(study), values(trial, study), strict=True):
        listing.add_row(literal(name), number(value))
    if expected is not None:
        reach = f"{number(expected.low)} to {number(expected.high)}"
        basis = f"by the curves of {counted(expected.complete, 'complete trial')}"
        listing.add_row(
            "at its end", f"{number(expected.value)} expected, {reach} in 80 % of cases, {basis}"
        )
    for name, value in trial.constraints.items():
        verdict = f"[yellow]{number(value)}, violated[/]" if value > 0 else f"{number(value)}, kept"
        listing.add_row(f"constraint {literal(name)}", verdict)
    if trial.origin is not None:
        listing.add_row("proposed", literal(describe(trial.origin)))
    listing.add_row("epochs", str(trial.reports[-1].step if trial.reports else 0))
    if trial.started_at is not None:
        listing.add_row("started", moment(trial.started_at))
        listing.add_row("took", duration(trial.seconds))
    if trial.worker is not None:
        listing.add_row("worker", literal(trial.worker))
    for attempt in attempts[:-1]:
        listing.add_row(f"attempt {attempt.attempt}", literal(_outcome(attempt)))
    out.print(listing)
    if trial.params:
        out.print("\n[bold]parameters[/]")
        out.print(params_table(trial.params))


def _outcome(attempt: LoggedAttempt) -> str:
    """Say how an attempt that others followed ended."""
    if attempt.cause is None:
        return "paused at a rung"
    return f"{attempt.cause}: {attempt.message or '?'}"


def _record(trial: Trial, attempts: Sequence[LoggedAttempt]) -> dict[str, Any]:
    return {**study_json.of_trial(trial), "attempts": attempts}
