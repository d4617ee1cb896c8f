"""Model families: resolve study files with their family's defaults, and check their data.

Imports no family's code, so neither torch nor numpy.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from tuner.data import vector_benchmarks
from tuner.errors import DataError, Issue, SpecError
from tuner.families import registry
from tuner.families.card import Card
from tuner.families.transfer import files
from tuner.study_file.data import Task
from tuner.study_file.load import Source
from tuner.study_file.messages import instead, quoted
from tuner.study_file.parameters import FixedParameter
from tuner.study_file.resolve import check_family, fit_possible
from tuner.study_file.resolve import resolve as merge
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.study import CLASS_ACCURACY, StudySpec
from tuner.trials import ParamValue

if TYPE_CHECKING:
    from tuner.data.prepared import PreparedData

__all__ = ["check_data", "default_configuration", "resolve"]

_WORDS = {"images": "images", "text": "text", "corpus": "a corpus", "pairs": "pairs"}
_VERBS = {"images": "are", "text": "is", "corpus": "is", "pairs": "are"}


def resolve(source: Source) -> ResolvedSpec:
    """Fill in the family's defaults; SpecError names the lines of what does not fit."""
    spec = files.with_absolute_checkpoints(source.spec, source.folder)
    with source.locating():
        card = _find_card(spec)
        spec = _with_task(spec, card)
        _check_data_fields(spec, card)
        resolved = merge(
            spec,
            default=card.defaults(spec.data, spec.budget.epochs),
            metrics=card.measured(spec.data) + _other_metrics(spec, card),
            epochs=card.epochs,
            min_epochs=card.min_epochs,
            costs=card.costs,
            limits=card.hard_limits,
            trains_on_shares="corpus" not in card.data,
            also=card.also,
        )
        _check_open_parameters(resolved)
        return resolved


def _find_card(spec: StudySpec) -> Card:
    """Return the card of the study's family; SpecError if it cannot be used."""
    if spec.family not in registry.BUILT_IN:
        if (problem := registry.problems().get(spec.family)) is not None:
            raise SpecError(issues=[Issue(("family",), problem)])
        check_family(spec, registry.names())
    return registry.card(spec.family)


def _with_task(spec: StudySpec, card: Card) -> StudySpec:
    """Settle the study's task: the data names it, or else its first metric implies it.

    SpecError if the family or another metric does not support the task.
    """
    if spec.data is None:
        return spec
    names = spec.objective.metric or ()
    task_in_file = spec.data.task
    implied = task_in_file is None and names[:1] and names[0] in card.metrics_of_numbers
    task: Task = "regression" if implied else task_in_file or "classification"
    if task == "regression" and not card.metrics_of_numbers:
        able = ", ".join(n for n in registry.names() if registry.card(n).metrics_of_numbers)
        sentence = f"family `{card.name}` does not learn numbers; {able} do"
        raise SpecError(issues=[Issue(("data", "task"), sentence)])
    if task == "regression" and spec.data.min_class is not None:
        sentence = "has no meaning where labels are numbers; remove it"
        raise SpecError(issues=[Issue(("data", "min_class"), sentence)])
    others = card.metrics if task == "regression" else card.metrics_of_numbers
    kind, whose = ("classes", "numbers") if task == "regression" else ("numbers", "classes")
    why = f"`metric: {names[0]}` means" if implied else "labels are by default"
    why = f"`data.task: {task_in_file}` means" if task_in_file is not None else why
    sentences = [
        Issue(("objective", "metric", place), f"{quoted(name)} is of {kind}, and {why} {whose}")
        for place, name in enumerate(names)
        if name in others
    ]
    sentences += [
        Issue(("constraints", name), f"{quoted(name)} is of {kind}, and {why} {whose}")
        for name in spec.constraints
        if name in others
    ]
    if sentences:
        raise SpecError(issues=sentences)
    # classification is the default, which is not stored
    data = spec.data.model_copy(update={"task": "regression" if task == "regression" else None})
    return spec.model_copy(update={"data": data})


def _other_metrics(spec: StudySpec, card: Card) -> tuple[str, ...]:
    """Return metrics that another task would allow, for the message about an unknown one."""
    return card.metrics_of_numbers if spec.data is not None and spec.data.task is None else ()


def _check_data_fields(spec: StudySpec, card: Card) -> None:
    """SpecError if the data has fields that this family ignores."""
    ignored = [] if card.search_with_vectors else ["vectors"]
    if not card.vectors:
        ignored += ["word_pairs", "analogies"]
    named = [name for name in ignored if getattr(spec.data, name, None) is not None]
    if named:
        sentence = f"has no meaning with family `{card.name}`; remove it"
        raise SpecError(issues=[Issue(("data", name), sentence) for name in named])


def _check_open_parameters(spec: ResolvedSpec) -> None:
    """SpecError if the file lacks a value that only the user can know."""
    checkpoint = spec.space.parameters.get("checkpoint")
    if isinstance(checkpoint, FixedParameter) and checkpoint.value is None:
        sentence = (
            "is missing; name the pretrained model, or a list of them: a folder, "
            "`package:NAME/FOLDER`, or a name on the Hugging Face hub"
        )
        raise SpecError(issues=[Issue(("search", "checkpoint"), sentence)])


def default_configuration(spec: ResolvedSpec) -> dict[str, ParamValue]:
    """Return the card's first configuration, as far as this study searches it; may be empty."""
    is_used = spec.sampler.learns and spec.sampler.default_first
    trials = spec.budget.trials
    if not is_used or (trials is not None and trials <= len(spec.enqueue)):
        return {}
    return fit_possible(registry.card(spec.family).first, spec.space)


def check_data(spec: ResolvedSpec, prepared: PreparedData) -> None:
    """DataError if the family cannot learn from the prepared data, or cannot be judged on it."""
    needed = registry.card(spec.family).data
    assert spec.data is not None
    if prepared.kind not in needed:
        raise DataError(
            f"family `{spec.family}` needs {' or '.join(map(_WORDS.__getitem__, needed))}; "
            f"`data: {spec.data.source}` {_VERBS[prepared.kind]} {_WORDS[prepared.kind]}"
        )
    for metric in (spec.objective.metric, *spec.further_metrics):
        name = metric.removeprefix(CLASS_ACCURACY)
        if name != metric and name not in prepared.classes:
            what = f"the data has no class {quoted(name)}" if name else "names no class"
            issue = Issue(("constraints", metric), f"{what}{instead(name, prepared.classes)}")
            raise SpecError(issues=[issue])
        if metric in ("bleu", "chrf") and find_spec("sacrebleu") is None:
            raise DataError(
                f"the metric `{metric}` needs the package sacrebleu, which is not installed; "
                "install it with: pip install 'tuner[translation]'"
            )
        if metric in vector_benchmarks.METRICS:
            # imports numpy, which a launch has imported for its data anyway
            from tuner.data import corpus

            vocabulary = corpus.load(prepared, spec.data)["train"].words
            vector_benchmarks.check(spec.data, metric, frozenset(vocabulary))
