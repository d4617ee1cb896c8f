"""How one study stands: `show`."""

from collections.abc import Mapping, Sequence
from typing import Any

from tuner import study_json
from tuner.cli.comparison import comparison_record, print_comparison
from tuner.cli.output import (
    AsJson,
    StudyName,
    duration,
    err,
    moment,
    number,
    opened,
    out,
    params_table,
    print_json,
    running_in_optuna,
    shown,
    state,
    table,
    typed,
)
from tuner.commands import experiments, reading, sources
from tuner.errors import overwritten
from tuner.study_file.messages import counted
from tuner.study_file.resolved import ResolvedSpec
from tuner.trial_tables import metric_names
from tuner.trials import Cause, FailuresByCause, Study, Trial, TrialState, finished, pareto_front
from tuner.winner import choice

SHOWN_LINES = 5  # of the output of a failed attempt
SHOWN_FRONT = 30  # trials of the Pareto front


def overview_record(one: reading.Overview) -> dict[str, Any]:
    """A study with its counts for scripts."""
    return {**study_json.of_study(one.study), "counts": study_json.plain(one.counts)}


def show(name: str = StudyName, as_json: bool = AsJson) -> None:
    """Show how a study stands: counts, best configuration, search space, failures.

    Of an experiment, how its families compare.
    """
    with opened() as (settings, database):
        if compared := experiments.compare(database, name):
            if as_json:
                print_json(comparison_record(name, compared))
            else:
                print_comparison(name, compared)
            return
        one = reading.load_overview(database, name)
        study = one.study
        trials = reading.load_trials(database, study)
        found = choice.select_best(trials, study)
        front = pareto_front(trials, study.directions) if len(study.directions) > 1 else []
        failures = reading.load_failures(database, study)
        cached = sources.find_cached_data(settings, study)
    if as_json:
        best = None if found is None else study_json.of_trial(found)
        record = {**overview_record(one), "best": best, "failures": failures, "cached": cached}
        if len(study.directions) > 1:
            record["pareto_front"] = [study_json.of_trial(trial) for trial in front]
        print_json(record)
        return
    reason = f" ({shown(study.reason)})" if study.reason else ""
    out.print(f"[bold]{shown(study.name)}[/]  {state(study.state)}{reason}")
    facts = table("", "")
    facts.show_header = False
    for fact, value in {**_facts(one), **_cached(cached)}.items():
        facts.add_row(fact, value)
    out.print(facts)
    if of_optuna := running_in_optuna(study, trials):
        err.print(f"[yellow]{shown(of_optuna)}[/]")
    if found is not None:
        say_which_objective(study)
        out.print(
            f"\n[bold green]best[/] trial {found.number}: {shown(study.metric)} "
            f"[bold]{number(found.value)}[/]"
        )
        out.print(params_table(found.params))
    if front:
        _print_front(front, study)
    spec = None if study.spec is None else ResolvedSpec.from_json(study.spec)
    if spec is not None:
        out.print("\n[bold]search space[/]")
        out.print(params_table(spec.space.describe()))
    if failures:
        _print_failures(failures, 1 if spec is None else spec.resources.max_attempts)


def _facts(one: reading.Overview) -> dict[str, str]:
    """What there is to say in a line each; budgets and limits only where the study has them."""
    study = one.study
    done = finished(one.counts)
    facts = {
        "family": study.family or "made through Optuna",
        "objective": _objectives(study),
        "trials": f"{done} of {study.max_trials or '∞'}: " + _counts(one.counts),
    }
    if study.max_epochs is not None:
        facts["epochs"] = f"{study.epochs_issued} of {study.max_epochs} used or reserved"
    if study.max_seconds is not None:
        facts["GPU seconds"] = (
            f"{number(study.seconds_issued)} of {study.max_seconds:g} used or reserved"
        )
    if study.priority:
        facts["priority"] = str(study.priority)
    if study.max_concurrent is not None:
        facts["at once"] = f"at most {counted(study.max_concurrent, 'trial')}"
    if study.labels:
        facts["labels"] = ", ".join(f"{k}={v}" for k, v in study.labels.items())
    if study.experiment is not None:
        facts["experiment"] = (
            f"{shown(study.experiment)}: {typed('show', study.experiment)} compares"
        )
    facts["created"] = moment(study.created_at)
    if study.data_fingerprint:
        facts["data"] = f"fingerprint {study.data_fingerprint}"
    return facts


def _cached(found: sources.CachedData | None) -> dict[str, str]:
    if found is None:
        return {}
    size, made = f"{found.size / 1e6:.1f} MB", duration(found.seconds)
    return {
        "prepared": f"{size} on this machine, made in {made}; {duration(found.saved)} saved since"
    }


def _print_front(front: Sequence[Trial], study: Study) -> None:
    names = [shown(name) for name in metric_names(study)]
    made = table("trial", *names, right=frozenset({"trial", *names}))
    for trial in front[:SHOWN_FRONT]:
        made.add_row(str(trial.number), *map(number, trial.values or ()))
    size = counted(len(front), "trial")
    out.print(f"\n[bold]Pareto front[/]: {size} that no other trial beats in every objective")
    out.print(made)
    if len(front) > SHOWN_FRONT:
        out.print(f"[dim]{len(front) - SHOWN_FRONT} more; --json has them all[/]")


def _objectives(study: Study) -> str:
    names = metric_names(study)
    return ", ".join(f"{d} {shown(n)}" for d, n in zip(study.directions, names, strict=False))


def say_which_objective(study: Study) -> None:
    """A hint that only one of several objectives counts for what is the best."""
    if len(study.directions) > 1:
        err.print(f"[yellow]of its {len(study.directions)} objectives, the first alone counts[/]")


def _counts(counts: Mapping[TrialState, int]) -> str:
    return ", ".join(f"{n} {state(s)}" for s, n in counts.items() if n) or "none yet"


def _print_failures(found: Sequence[FailuresByCause], attempts: int) -> None:
    """A line a cause, and what the latest attempt of each printed last."""
    again = {
        Cause.OUT_OF_MEMORY: "once more, alone on its device",
        Cause.LOST: f"up to {counted(attempts, 'attempt')}",
        Cause.PREEMPTED: "always",
    }
    made = table(
        "cause", "failed", "tried again", "rule", "the latest", right=frozenset({"failed"})
    )
    for one in found:
        said = f"trial {one.number}: {shown(one.message or '?')}"
        rule = again.get(one.cause, "not tried again")
        made.add_row(one.cause, str(one.failed), str(one.again), f"[dim]{rule}[/]", said)
    out.print("\n[bold red]failures[/]")
    out.print(made)
    for one in found:
        lines = overwritten(one.log_tail or "").splitlines()[-SHOWN_LINES:]
        if lines and one.cause is not Cause.PREEMPTED:
            out.print(f"\n[dim]the last lines of trial {one.number} ({one.cause}):[/]")
            for line in lines:
                out.print(f"  {shown(line)}")
