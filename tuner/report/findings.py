"""What a report says in words and numbers: pure functions of a study and its trials.

Texts are plain; the code that shows them escapes them. Times are UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

from tuner import files, shell
from tuner.figures import text, values
from tuner.study_file.samplers import SAMPLERS
from tuner.trials import Study, Trial, TrialState, better, count_finished

TOP = 20  # trials in the table
SHOWN_NUMBERS = 12  # failed trials per cause whose numbers are listed

CAUSES: Mapping[str, str] = {
    "user_error": "error in code or data",
    "out_of_memory": "out of memory",
    "diverged": "diverged",
    "timeout": "timeout",
    "lost": "worker lost",
    "preempted": "preempted",
    "killed": "killed by a user",
}


@dataclass(frozen=True, slots=True)
class Counts:
    """How many trials are in each state, and how many the budget allows."""

    by_state: Mapping[TrialState, int]
    total: int
    budget: int | None  # None: no limit

    @property
    def finished(self) -> int:
        """Trials that have ended, in whichever way."""
        return count_finished(self.by_state)

    @property
    def bar(self) -> list[tuple[TrialState, int, float]]:
        """State, trials, and percentage of the budget, or of all trials if there is no limit."""
        whole = max(self.budget or 0, self.total, 1)
        return [(state, n, 100 * n / whole) for state, n in self.by_state.items() if n]


@dataclass(frozen=True, slots=True)
class Savings:
    """Epochs that complete and pruned trials ran, compared with full training of them all."""

    run: int
    full: int
    pruned: int  # not run because of pruning
    stopped_early: int  # not run by complete trials, because of early stopping

    @property
    def share(self) -> float:
        """The share of the full cost that pruning saved."""
        return self.pruned / self.full if self.full else 0.0


@dataclass(frozen=True, slots=True)
class FailedTrials:
    """Trials that failed for the same cause."""

    cause: str
    how_many: int
    message: str  # of the latest
    numbers: str


def count_by_state(study: Study, trials: Sequence[Trial]) -> Counts:
    """Count trials by state, the most interesting states first."""
    order = (
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAILED,
        TrialState.RUNNING,
        TrialState.WAITING,
        TrialState.PAUSED,
    )
    by_state = dict.fromkeys(order, 0)
    for trial in trials:
        by_state[trial.state] += 1
    return Counts(by_state, len(trials), study.max_trials)


def rank_best(study: Study, trials: Sequence[Trial], how_many: int = TOP) -> list[Trial]:
    """Return the best complete trials, in order; of equal ones, the earlier first."""
    sign = -1 if study.direction == "maximize" else 1
    ranked = sorted(values.feasible(trials), key=lambda pair: (sign * pair[1], pair[0].number))
    return [trial for trial, _ in ranked[:how_many]]


def epochs(trial: Trial) -> int:
    """Return how many epochs a trial has trained."""
    return trial.reports[-1].step if trial.reports else 0


def measure_savings(study: Study, trials: Sequence[Trial]) -> Savings | None:
    """Return what pruning saved; None if the study sets no epochs or no trial has ended."""
    each = lookup(study.spec, "budget", "epochs")
    if not isinstance(each, int) or isinstance(each, bool) or each < 1:
        return None
    ended = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    if not ended:
        return None
    saved = {TrialState.COMPLETE: 0, TrialState.PRUNED: 0}
    for trial in ended:
        saved[trial.state] += max(each - epochs(trial), 0)
    return Savings(
        run=sum(map(epochs, ended)),
        full=each * len(ended),
        pruned=saved[TrialState.PRUNED],
        stopped_early=saved[TrialState.COMPLETE],
    )


def group_failures(trials: Sequence[Trial]) -> list[FailedTrials]:
    """Group failed trials by cause, the most frequent cause first."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        if trial.state is TrialState.FAILED:
            groups.setdefault(trial.cause.value if trial.cause else "", []).append(trial)
    failures = []
    for cause, group in sorted(groups.items(), key=lambda pair: -len(pair[1])):
        latest = max(group, key=lambda t: (_timestamp(t.finished_at), t.number))
        numbers = ", ".join(str(t.number) for t in group[:SHOWN_NUMBERS])
        if len(group) > SHOWN_NUMBERS:
            numbers += f" and {len(group) - SHOWN_NUMBERS} more"
        failures.append(
            FailedTrials(
                CAUSES.get(cause, cause.replace("_", " ")) or "not recorded",
                len(group),
                latest.message or "no message",
                numbers,
            )
        )
    return failures


def describe_best(study: Study, trials: Sequence[Trial], best: Trial) -> list[str]:
    """Say in sentences how the best trial came about."""
    lines = []
    if best.finished_at is not None:
        ended = [t for t in trials if not t.state.is_open and t.finished_at is not None]
        place = sum(_timestamp(t.finished_at) <= _timestamp(best.finished_at) for t in ended)
        line = f"Finished {moment(best.finished_at)}, as number {place:,} of {len(ended):,}"
        if study.created_at is not None:
            passed = (best.finished_at - study.created_at).total_seconds()
            line += f", {text.duration(passed)} after the start"
        lines.append(f"{line}.")
    if best.reports:
        at_best = next((r.step for r in best.reports if r.value == best.value), None)
        line = f"Trained {text.count(epochs(best), 'epoch')}"
        if best.seconds is not None:
            line += f" in {text.duration(best.seconds)}"
        if at_best is not None:
            line += f"; reached its value after epoch {at_best:,}"
        lines.append(f"{line}.")
    lines += _lead(study, trials, best)
    if best.attempt > 1:
        lines.append(f"Took {best.attempt} attempts.")
    return lines


def _lead(study: Study, trials: Sequence[Trial], best: Trial) -> list[str]:
    """Say how far the best trial is ahead of the others."""
    value = best.value
    ranked = rank_best(study, trials, how_many=2)
    if value is None or len(ranked) < 2 or ranked[1].value is None:
        return []
    second = ranked[1]
    middle = median(v for _, v in values.complete(trials))
    gap = abs(value - ranked[1].value)
    line = (
        f"Level with trial {second.number}, which came later"
        if gap == 0
        else f"Ahead of the next, trial {second.number}, by {text.number(gap)}"
    )
    if better(study.direction, value, middle):
        line += f", and of the median complete trial by {text.number(abs(value - middle))}"
    return [f"{line}."]


def describe_method(study: Study) -> list[tuple[str, str]]:
    """Describe the search, as pairs of label and text."""
    spec = study.spec
    if spec is None:
        return [("search", "made through Optuna's API; its settings are not recorded")]
    sampler, pruner = (
        lookup(spec, section, "name") or lookup(spec, section, "class")
        for section in ("sampler", "pruner")
    )
    card = SAMPLERS.get(sampler)
    search = str(sampler or "") if card is None else card.title
    startup = lookup(spec, "sampler", "startup_trials")
    if card is not None and card.learns and startup:
        search += f", after {text.count(startup, 'startup trial')}"
    if reason := lookup(spec, "sampler", "reason"):
        search += f"; chosen automatically: {reason}"
    rows = [("sampler", search), ("pruning", _pruning(spec, pruner)), ("budget", _budget(spec))]
    training = lookup(spec, "training")
    if isinstance(training, Mapping):
        settings = {k: v for k, v in training.items() if v is not None}
        rows.append(
            ("training", ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in settings.items()))
        )
    seed = lookup(spec, "seed")
    if seed is not None:
        rows.append(("seed", str(seed)))
    return [(label, value) for label, value in rows if value]


def _pruning(spec: Mapping[str, Any], pruner: object) -> str:
    if pruner in (None, "none"):
        return str(pruner or "")
    since = lookup(spec, "pruner", "min_epochs")
    if "auto" in (since, lookup(spec, "pruner", "reduction")):
        return f"{pruner}, chosen by what trials have shown"
    tail = f", not before epoch {since}" if since else ""
    if pruner in ("rungs", "hyperband"):
        return f"{pruner}: the best 1/{lookup(spec, 'pruner', 'reduction')} of each continue{tail}"
    return f"{pruner}{tail}" if pruner in ("median", "curves") else str(pruner)


def _budget(spec: Mapping[str, Any]) -> str:
    budget = lookup(spec, "budget")
    if not isinstance(budget, Mapping):
        return ""
    parts = []
    if budget.get("trials") is not None:
        parts.append(text.count(budget["trials"], "trial"))
    if budget.get("epochs") is not None:
        parts.append(f"{text.count(budget['epochs'], 'epoch')} each")
    if budget.get("hours") is not None:
        parts.append(f"{text.number(budget['hours'])} h")
    if budget.get("target") is not None:
        parts.append(f"until {text.number(budget['target'])} is reached")
    if budget.get("patience") is not None:
        parts.append(f"until {text.count(budget['patience'], 'trial')} bring nothing better")
    return ", ".join(parts)


def describe_data(study: Study) -> list[tuple[str, str]]:
    """Describe the data, as pairs of label and text."""
    section = lookup(study.spec, "data")
    rows: list[tuple[str, str]] = []
    if isinstance(section, Mapping):
        rows += [
            (key.replace("_", " "), str(section[key]))
            for key in ("source", "path", "validation_path", "test_path")
            if section.get(key) is not None
        ]
        split = section.get("split")
        if isinstance(split, Mapping):
            parts = [f"{k} {text.number(split[k])}" for k in ("validation", "test") if k in split]
            rows.append(("split", ", ".join([*parts, f"seed {split.get('seed', 0)}"])))
    if study.data_fingerprint:
        rows.append(("fingerprint", study.data_fingerprint))
    return rows


def commands_to_reproduce(study: Study, best: Trial | None) -> str | None:
    """Return the commands that retrain the best configuration; None if there is none."""
    if best is None or study.spec is None:
        return None
    path = f"exports/{files.safe_name(study.name)}/reproduce.yaml"
    return f"{shell.command('export', study.name)}\n{shell.command('run', path)}"


def find_end(study: Study, trials: Sequence[Trial]) -> datetime | None:
    """Return when the study ended; if it continues, when its latest trial did."""
    if study.finished_at is not None:
        return study.finished_at
    return max((t.finished_at for t in trials if t.finished_at is not None), default=None)


def lookup(spec: Any, *keys: str) -> Any:
    """Return a nested value of a stored study; None if it is missing."""
    for key in keys:
        spec = spec.get(key) if isinstance(spec, Mapping) else None
    return spec


def moment(time: datetime | None) -> str:
    """Format a time: `2026-11-03 09:30 UTC`."""
    return "–" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _timestamp(time: datetime | None) -> float:
    return time.timestamp() if time is not None else 0.0
