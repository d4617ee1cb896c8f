"""A bundle's `card.md`: what was chosen, how good it is, how it was found and how to use it.

It follows the model cards of Mitchell et al. (FAT* 2019), as far as a search knows the answers.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tuner.errors import visible
from tuner.export.result import all_params
from tuner.study_file.arguments import as_text
from tuner.study_file.messages import counted
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import Study, Trial, TrialState

CURVE = 20  # rows of the table of epochs; of more epochs, this many are shown, evenly spread


def text(
    study: Study,
    spec: ResolvedSpec,
    trial: Trial,
    content: Mapping[str, Any],
    trials: Sequence[Trial],
    importances: Mapping[str, float] | None,
) -> str:
    """Return the card, as Markdown."""
    parts = [
        f"# {_plain(study.name)}\n\n"
        f"Trial {trial.number} of a study of the family `{spec.family}`, which was to "
        f"{study.direction} {_plain(study.metric)}.",
        _figures(content, trials),
        _notes(content),
        _section("The configuration", _table(("parameter", "value"), _params(study, trial))),
        _section("Data", _data(spec, content)),
        _section("How it was found", _search(study, spec, trials)),
        _section("What mattered", _importances(importances)),
        _section("Search space", _table(("parameter", "range"), spec.space.describe().items())),
        _section("Its training", _curve(study, trial)),
        _section("Use it", _use(spec, content)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _figures(content: Mapping[str, Any], trials: Sequence[Trial]) -> str:
    metric = content["metric"]
    rows = []
    if metric["validation"] is not None:
        how = "by which the search found it" if "confirmed" in metric else "by which it was chosen"
        rows.append((f"validation, {how}", _with_interval(metric, "validation")))
    if "test" in metric:
        rows.append(("test, read after the choice", _with_interval(metric, "test")))
    summary = _table((_plain(metric["name"]), "value (95 % interval)"), rows)
    complete = sum(t.state is TrialState.COMPLETE for t in trials)
    if "confirmed" in metric:
        summary += f"\n\n{_confirmed(metric)}"
    elif complete > 1:
        summary += (
            f"\n\nIt was chosen among {complete} results by the validation part, which flatters "
            "it: the best of many noisy figures is partly luck. "
            + (
                "The test part had no say in the choice. The test figure is of the search's "
                "winner, which no confirmation has retrained with fresh seeds."
                if "test" in metric
                else "No confirmation has retrained it with fresh seeds."
            )
        )
    if "validation_interval" in metric:
        summary += (
            f"\n\nThe intervals ({metric['interval_method']}) are what a part of this size can "
            "tell, not how much a training with another seed would differ."
        )
    return summary


def _confirmed(metric: Mapping[str, Any]) -> str:
    """Say what fresh seeds have shown."""
    confirmed = metric["confirmed"]
    if confirmed["mean"] is None:
        return "Trained again with fresh seeds, it gave no value."
    ends = confirmed["interval"]
    interval = "" if ends is None else f" ({ends[0]:.4g} … {ends[1]:.4g})"
    note = " (the 95 % interval is of the mean over seeds)" if interval else ""
    gap = confirmed["overstated_by"]
    sentences = [
        f"Trained again with {confirmed['seeds']} fresh seeds, it reaches {confirmed['mean']:.4g}"
        f"{interval} on average{note}.",
        f"The search overstated it by {gap:.4g} (the winner's curse)."
        if gap > 0
        else "The search did not overstate it.",
        *map(_plain, confirmed["shown"]),
    ]
    return " ".join(sentences)


def _with_interval(metric: Mapping[str, Any], part: str) -> str:
    value = f"{metric[part]:.4g}"
    interval = metric.get(f"{part}_interval")
    return value if interval is None else f"{value} ({interval[0]:.4g} … {interval[1]:.4g})"


def _notes(content: Mapping[str, Any]) -> str:
    return "\n".join(f"- {_plain(note)}" for note in content.get("notes", ()))


def _params(study: Study, trial: Trial) -> list[tuple[str, str]]:
    return [(name, as_text(value)) for name, value in all_params(study, trial).items()]


def _data(spec: ResolvedSpec, content: Mapping[str, Any]) -> str:
    if spec.data is None:
        code = content["code"]
        return (
            _table(("code", ""), [(name, str(value)) for name, value in code.items()])
            + "\n\nThe code reads its own data; tuner knows nothing of it."
        )
    fields = {k: v for k, v in content["data"].items() if k not in ("split", "fingerprint")}
    split = spec.data.split
    rows = [
        *((name, str(value)) for name, value in fields.items()),
        ("split", f"validation {split.validation:g}, test {split.test:g}, seed {split.seed}"),
        ("fingerprint", str(content["data"]["fingerprint"])),
    ]
    if "labels" in content:
        mean, spread = content["labels"]["mean"], content["labels"]["standard_deviation"]
        description = (
            f"numbers, {mean:.4g} on average in the training part, standard deviation {spread:.4g}"
        )
        rows.append(("labels", f"{description}: about the rmse of always predicting the mean"))
    return _table(("data", ""), rows)


def _budget(spec: ResolvedSpec) -> str:
    trials = counted(spec.budget.trials, "trial")
    return (
        trials
        if not spec.budget.epochs
        else f"{trials}, {counted(spec.budget.epochs, 'epoch')} each"
    )


def _search(study: Study, spec: ResolvedSpec, trials: Sequence[Trial]) -> str:
    counts = Counter(str(t.state) for t in trials)
    epochs = sum(t.reports[-1].step for t in trials if t.reports)
    rows = [
        ("budget", _budget(spec)),
        ("trials", ", ".join(f"{number:,} {state}" for state, number in counts.items()) or "–"),
        ("epochs trained", f"{epochs:,}"),
        ("sampler, pruner", f"{spec.sampler.label}, {spec.pruner.label}"),
        ("seed", str(spec.seed)),
        ("study", f"{study.state}" + (f": {_plain(study.reason)}" if study.reason else "")),
    ]
    return _table(("search", ""), rows)


def _importances(importances: Mapping[str, float] | None) -> str:
    if not importances:
        return ""
    ranked = sorted(importances.items(), key=lambda pair: -pair[1])
    return _table(("parameter", "importance"), [(n, f"{share:.0%}") for n, share in ranked])


def _curve(study: Study, trial: Trial) -> str:
    reports = trial.reports
    if not reports:
        return ""
    step = max(1, -(-len(reports) // CURVE))
    chosen = [*reports[::step], *([reports[-1]] if (len(reports) - 1) % step else [])]
    return _table(
        ("epoch", _plain(study.metric)), [(str(r.step), f"{r.value:.4g}") for r in chosen]
    )


def _use(spec: ResolvedSpec, content: Mapping[str, Any]) -> str:
    if spec.code is None:
        lines = ["tuner verify .             # is it what it claims to be?"]
        lines.append("python predict.py --help   # predictions, without tuner")
    else:
        lines = ["tuner verify . --allow-code   # is it what it claims to be? runs the code"]
    lines.insert(0, "```sh")
    lines += ["tuner run reproduce.yaml   # train it again", "```"]
    if "onnx" in content:
        lines += ["", _onnx(content["onnx"])]
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    return "\n".join([*lines, "", f"Made with {versions}; `lock.txt` has every package."])


def _onnx(onnx: Mapping[str, Any]) -> str:
    takes = ", ".join(f"`{name}` {_plain(kind)}" for name, kind in onnx["inputs"].items())
    unit = " of the labels' standard deviation" if onnx["output"] == "numbers" else ""
    return (
        f"`model.onnx` (opset {onnx['opset']}) takes {takes} and gives `{onnx['output']}`: in "
        f"onnxruntime {onnx['onnxruntime']}, those of torch within "
        f"{onnx['largest_difference']:.1e}{unit}, on all {onnx['examples']} validation examples."
    )


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def _table(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    lines = [f"| {_cell(left)} | {_cell(right)} |" for left, right in rows]
    return "\n".join([f"| {head[0]} | {head[1]} |", "|---|---|", *lines]) if lines else ""


def _cell(text_: str) -> str:
    return _plain(text_).replace("|", "\\|")


def _plain(text_: str) -> str:
    """Return the text on one line, with all that Markdown or HTML would read escaped."""
    for character in "\\`*[]<>#":
        text_ = text_.replace(character, f"\\{character}")
    return visible(text_)
