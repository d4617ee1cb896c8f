"""The state of one study: `show`."""

from collections.abc import Mapping, Sequence
from typing import Any

import typer

from tuner import study_json
from tuner.cli.comparison import comparison_record, print_comparison
from tuner.cli.output import (
    AsJson,
    StudyName,
    command_markup,
    describe_optuna_trials,
    duration,
    err,
    literal,
    moment,
    number,
    open_database,
    out,
    params_table,
    print_json,
    state,
    table,
)
from tuner.cli.trial import print_trial
from tuner.commands import experiments, learning, reading, sources
from tuner.errors import overwritten
from tuner.study_file import constraints
from tuner.study_file.auto import describe as describe_sampler
from tuner.study_file.messages import counted
from tuner.study_file.origins import describe as describe_origin
from tuner.study_file.resolved import ResolvedSpec
from tuner.trial_tables import metric_names
from tuner.trials import (
    Cause,
    FailuresByCause,
    Study,
    Trial,
    TrialState,
    count_finished,
    pareto_front,
)
from tuner.winner import choice, feasibility

SHOWN_LINES = 5  # of the output of a failed attempt
SHOWN_FRONT = 30  # trials of the Pareto front


def overview_record(overview: reading.Overview) -> dict[str, Any]:
    """Return a study and its counts as JSON for scripts."""
    return {**study_json.of_study(overview.study), "counts": study_json.plain(overview.counts)}


def show(
    name: str = StudyName,
    trial: int | None = typer.Option(
        None, "--trial", min=0, help="Show this trial, and how it was proposed."
    ),
    as_json: bool = AsJson,
) -> None:
    """Show how a study is doing: counts, best configuration, search space, failures.

    For an experiment, compare its families.
    """
    with open_database() as (settings, database):
        if trial is not None:
            from tuner.commands.forecasting import forecast  # NumPy

            study = reading.find(database, name)
            shown, attempts = reading.load_trial_and_attempts(database, study, trial)
            expected = forecast(shown, reading.load_trials(database, study), study)
            print_trial(study, shown, attempts, expected, as_json=as_json)
            return
        if results := experiments.compare(database, name):
            if as_json:
                print_json(comparison_record(name, results))
            else:
                print_comparison(name, results)
            return
        overview = reading.load_overview(database, name)
        study = overview.study
        trials = reading.load_trials(database, study)
        best_trial = choice.select_best(trials, study)
        front = pareto_front(trials, study.directions) if len(study.directions) > 1 else []
        failures = reading.load_failures(database, study)
        cached = sources.find_cached_data(settings, study)
        learned = learning.load_learned(database, study)
        fallbacks = reading.describe_fallbacks(database, study)
    if as_json:
        best = None if best_trial is None else study_json.of_trial(best_trial)
        record = {**overview_record(overview), "best": best, "failures": failures, "cached": cached}
        if infeasible := feasibility.describe_infeasible(trials, study):
            record["infeasible"] = infeasible
        if learned:
            record["learned_from"] = [study_json.plain(source) for source in learned]
        if len(study.directions) > 1:
            record["pareto_front"] = [study_json.of_trial(trial) for trial in front]
            from tuner.winner.hypervolume import hypervolume  # imports NumPy

            record["hypervolume"] = hypervolume(trials, study)
        print_json(record)
        return
    reason = f" ({literal(study.reason)})" if study.reason else ""
    out.print(f"[bold]{literal(study.name)}[/]  {state(study.state)}{reason}")
    listing = table("", "")
    listing.show_header = False
    for label, value in {**_properties(overview), **_cache_row(cached)}.items():
        listing.add_row(label, value)
    out.print(listing)
    if of_optuna := describe_optuna_trials(study, trials):
        err.print(f"[yellow]{literal(of_optuna)}[/]")
    if fallbacks:
        err.print(f"[yellow]{literal(fallbacks)}[/]")
    if unreported := reading.describe_unreported(trials, study):
        err.print(f"[yellow]{literal(unreported)}[/]")
    if best_trial is not None:
        warn_of_other_objectives(study)
        out.print(
            f"\n[bold green]best[/] trial {best_trial.number}: {literal(study.metric)} "
            f"[bold]{number(best_trial.value)}[/]"
        )
        if best_trial.origin is not None:
            out.print(f"  [dim]proposed: {literal(describe_origin(best_trial.origin))}[/]")
        out.print(params_table(best_trial.params))
    if infeasible := feasibility.describe_infeasible(trials, study):
        out.print(f"\n[yellow]no best trial[/]: {literal(infeasible)}")
    if front:
        _print_front(front, study)
        _print_hypervolume(trials, study)
    spec = None if study.spec is None else ResolvedSpec.from_json(study.spec)
    if spec is not None:
        out.print("\n[bold]search space[/]")
        out.print(params_table(spec.space.describe()))
    if learned:
        _print_learned(learned)
    if failures:
        _print_failures(failures, 1 if spec is None else spec.resources.max_attempts)


def _print_learned(learned: Sequence[learning.LearnedFrom]) -> None:
    listing = table("study", "trials", "weight", "tried first", right=frozenset({"trials"}))
    for source in learned:
        listing.add_row(
            literal(source.study),
            source.size,
            "–" if source.weight is None else f"{source.weight:.0%}",
            ", ".join(map(str, source.portfolio)) or "–",
        )
    out.print(
        "\n[bold]learned from[/]: the weight is how well a study ranks the trials here so far"
    )
    out.print(listing)
    for source in learned:
        for difference in source.differences:
            out.print(f"[dim]{literal(source.study)}: {literal(difference)}[/]")


def _properties(overview: reading.Overview) -> dict[str, str]:
    """Return one line per property; budgets and limits only if the study has them."""
    study = overview.study
    finished_count = count_finished(overview.counts)
    properties = {
        "family": study.family or "made through Optuna",
        "objective": _objectives(study),
        "trials": f"{finished_count} of {study.max_trials or '∞'}: " + _counts(overview.counts),
    }
    if study.spec is not None:
        sampler = ResolvedSpec.from_json(study.spec).sampler
        properties["sampler"] = literal(describe_sampler(sampler.label, sampler.reason))
    if study.max_epochs is not None:
        properties["epochs"] = f"{study.epochs_issued} of {study.max_epochs} used or reserved"
    if study.max_seconds is not None:
        properties["GPU seconds"] = (
            f"{number(study.seconds_issued)} of {study.max_seconds:g} used or reserved"
        )
    if study.priority:
        properties["priority"] = str(study.priority)
    if study.max_concurrent is not None:
        properties["at once"] = f"at most {counted(study.max_concurrent, 'trial')}"
    if study.labels:
        properties["labels"] = ", ".join(f"{k}={v}" for k, v in study.labels.items())
    if study.experiment is not None:
        properties["experiment"] = (
            f"{literal(study.experiment)}; compare with {command_markup('show', study.experiment)}"
        )
    if bounds := feasibility.read_bounds(study):
        properties["constraints"] = literal(", ".join(constraints.names(bounds)))
    properties["created"] = moment(study.created_at)
    if study.data_fingerprint:
        properties["data"] = f"fingerprint {study.data_fingerprint}"
    return properties


def _cache_row(cached: sources.CachedData | None) -> dict[str, str]:
    if cached is None:
        return {}
    size = f"{cached.size / 1e6:.1f} MB on this machine"
    saved = f"{duration(cached.saved)} saved since"
    return {"prepared": f"{size}, in {duration(cached.seconds)}; {saved}"}


def _print_front(front: Sequence[Trial], study: Study) -> None:
    names = [literal(name) for name in metric_names(study)]
    listing = table("trial", *names, right=frozenset({"trial", *names}))
    for trial in front[:SHOWN_FRONT]:
        listing.add_row(str(trial.number), *map(number, trial.values or ()))
    size = counted(len(front), "trial")
    out.print(f"\n[bold]Pareto front[/]: {size} that no other trial beats in every objective")
    out.print(listing)
    if len(front) > SHOWN_FRONT:
        out.print(f"[dim]{len(front) - SHOWN_FRONT} more; `--json` lists all[/]")


def _print_hypervolume(trials: Sequence[Trial], study: Study) -> None:
    from tuner.winner import hypervolume  # imports NumPy

    complete = hypervolume.CompleteTrials.of(trials, study)
    reference = hypervolume.reference_point(complete, study)
    if reference is None:
        return
    pairs = zip(metric_names(study), reference, strict=True)
    point = ", ".join(f"{literal(name)} {number(value)}" for name, value in pairs)
    volume = float(hypervolume.over_time(complete, study, reference).max(initial=0.0))
    out.print(f"[bold]hypervolume[/] {number(volume)} [dim]from {point}[/]")


def _objectives(study: Study) -> str:
    names = metric_names(study)
    return ", ".join(f"{d} {literal(n)}" for d, n in zip(study.directions, names, strict=False))


def warn_of_other_objectives(study: Study) -> None:
    """Warn that only the first of several objectives decides which trial is best."""
    if len(study.directions) > 1:
        err.print(f"[yellow]best by the first of its {len(study.directions)} objectives[/]")


def _counts(counts: Mapping[TrialState, int]) -> str:
    return ", ".join(f"{n} {state(s)}" for s, n in counts.items() if n) or "none yet"


def _print_failures(failures: Sequence[FailuresByCause], attempts: int) -> None:
    """Print one line per cause, and the last output of the latest attempt of each."""
    retries = {
        Cause.OUT_OF_MEMORY: "once more, alone on its device",
        Cause.LOST: f"up to {counted(attempts, 'attempt')}",
        Cause.PREEMPTED: "always",
    }
    listing = table("cause", "failed", "retried", "rule", "latest", right=frozenset({"failed"}))
    for failure in failures:
        latest = f"trial {failure.number}: {literal(failure.message or '?')}"
        rule = retries.get(failure.cause, "not retried")
        listing.add_row(
            failure.cause, str(failure.failed), str(failure.again), f"[dim]{rule}[/]", latest
        )
    out.print("\n[bold red]failures[/]")
    out.print(listing)
    for failure in failures:
        lines = overwritten(failure.log_tail or "").splitlines()[-SHOWN_LINES:]
        if lines and failure.cause is not Cause.PREEMPTED:
            out.print(f"\n[dim]last lines of trial {failure.number} ({failure.cause}):[/]")
            for line in lines:
                out.print(f"  {literal(line)}")
