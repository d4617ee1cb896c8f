"""Tables of a suite's results, as Markdown: what methods reach, and whether goals are met."""

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.search.simulation import Run
from benchmarks.search.statistics import Runs, compare, hypervolume_share, task_of, value
from benchmarks.search.study import Study
from benchmarks.search.suites import Goal, Suite

SHARES_AT = (0.5, 1.0, 2.0)  # of the time of a full trial
TRIALS_AT = (40, 80, 200)


def report(suite: Suite, runs: Runs, workers: int) -> Iterator[str]:
    """Yield the lines of a suite at so many workers."""
    yield f"### {suite.title}: {workers} {'worker' if workers == 1 else 'workers'}"
    yield ""
    measured = {study.table for study in runs}
    yield ", ".join(f"`{name}`" for name in suite.tables if name in measured) + "."
    yield ""
    is_double = any(goal.measure.startswith("hypervolume") for goal in suite.goals)
    describe = _curves if suite.mode == "curves" else _fronts if is_double else _trials
    yield from describe(suite, runs)
    yield ""
    yield from _goals(suite, runs, workers)
    yield ""


def _of(runs: Runs, method: str) -> list[tuple[Study, Run]]:
    return [(study, run) for study, run in runs.items() if study.method == method]


def _curves(suite: Suite, runs: Runs) -> Iterator[str]:
    yield _row(
        *("", "studies", *(f"best share at {at:g} R" for at in SHARES_AT)),
        *("1 %: median R (reached)", "0.1 %", "to the end", "trials per R", "epochs per R"),
        *("repeats", "ms per trial"),
    )
    yield _row(*["---"] * 12)
    for method in suite.methods:
        own = _of(runs, method)
        if not own:
            continue
        shares = []
        for at in SHARES_AT:
            reached = [s for s in own if s[1].horizon >= at * _unit(s[0])]
            logs = [
                np.log(task_of(study).share_better(run.best_at(at * _unit(study))))
                for study, run in reached
            ]
            shares.append(f"{100 * np.exp(np.mean(logs)):.3g} %" if logs else "–")
        yield _row(
            method,
            str(len(own)),
            *shares,
            _median_time(own, "time to 1 %"),
            _median_time(own, "time to 0.1 %"),
            f"{np.mean([run.full_trials / max(1, run.trials) for _, run in own]):.1%}",
            f"{np.mean([run.trials / _spent(study, run) for study, run in own]):.0f}",
            f"{np.mean([run.epochs / _spent(study, run) for study, run in own]):.0f}",
            *_costs(own),
        )


def _trials(suite: Suite, runs: Runs) -> Iterator[str]:
    counts = [count for count in TRIALS_AT if count <= suite.trials]
    yield _row(
        *("", "studies", *(f"random draws worth {count} trials" for count in counts)),
        *("1 %: median R (reached)", "0.1 %", "repeats", "ms per trial"),
    )
    yield _row(*["---"] * (6 + len(counts)))
    for method in suite.methods:
        own = _of(runs, method)
        if own:
            means = [
                np.mean([np.log(1 / task_of(s).share_better(r.best_after(count))) for s, r in own])
                for count in counts
            ]
            yield _row(
                method,
                str(len(own)),
                *(f"{np.exp(mean):,.0f}" for mean in means),
                _median_time(own, "time to 1 %"),
                _median_time(own, "time to 0.1 %"),
                *_costs(own),
            )


def _fronts(suite: Suite, runs: Runs) -> Iterator[str]:
    counts = (50, 100, 200)
    yield _row("", "studies", *(f"hypervolume at {n}" for n in counts), "repeats", "ms per trial")
    yield _row(*["---"] * 7)
    for method in suite.methods:
        own = _of(runs, method)
        if own:
            shares = [
                np.mean([hypervolume_share(task_of(s), r.finished[:n]) for s, r in own])
                for n in counts
            ]
            yield _row(method, str(len(own)), *(f"{s:.1%}" for s in shares), *_costs(own))


def _goals(suite: Suite, runs: Runs, workers: int) -> Iterator[str]:
    default = suite.default
    goals = [
        goal
        for goal in suite.goals
        if (not goal.workers or workers in goal.workers)
        and _of(runs, goal.peer)
        and _of(runs, default)
    ]
    if not goals:
        return
    yield f"How many times as good `{default}` is (90 % interval over seeds):"
    yield ""
    yield _row("than", "by", "on", "ratio", "goal", "")
    yield _row(*["---"] * 6)
    for goal in goals:
        for names in [(name,) for name in suite.tables] if suite.by_table else [suite.tables]:
            selected = {study: run for study, run in runs.items() if study.table in names}
            if _of(selected, goal.peer) and _of(selected, default):
                yield _goal_row(goal, selected, default, names, suite)


def _goal_row(goal: Goal, runs: Runs, default: str, names: Sequence[str], suite: Suite) -> str:
    result = compare(runs, default, goal.peer, goal.measure)
    where = names[0] if suite.by_table else "all"
    if result is None:
        return _row(goal.peer, goal.measure, where, "–", f"{goal.factor:g}", "neither reaches it")
    verdict = result.against(goal.factor)
    return _row(goal.peer, goal.measure, where, str(result), f"{goal.factor:g}", verdict)


def _median_time(own: Sequence[tuple[Study, Run]], measure: str) -> str:
    times = [
        (np.inf if time is None else time / _unit(study))
        for study, run in own
        for time in [value(study, run, measure)]  # type: ignore[arg-type]
    ]
    median = float(np.median(times))
    text = "–" if np.isinf(median) else f"{median:.2f}"
    return f"{text} ({np.isfinite(times).sum()})"


def _costs(own: Sequence[tuple[Study, Run]]) -> tuple[str, str]:
    trials = sum(run.trials for _, run in own)
    repeats = 1 - sum(run.distinct for _, run in own) / trials
    return f"{repeats:.1%}", f"{1000 * sum(run.asking for _, run in own) / trials:.1f}"


def _unit(study: Study) -> float:
    return study.unit(task_of(study))


def _spent(study: Study, run: Run) -> float:
    """Return how long a study went on, in full trials."""
    return max(run.ended, 1e-9) / _unit(study)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
