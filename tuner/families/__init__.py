"""Model families: which there are, and whether a study file and its data suit one.

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
from tuner.study_file.messages import quoted
from tuner.study_file.parameters import FixedParameter
from tuner.study_file.resolve import check_family, fit_possible
from tuner.study_file.resolve import resolve as merge
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.study import StudySpec
from tuner.trials import ParamValue

if TYPE_CHECKING:
    from tuner.data.prepared import PreparedData

__all__ = ["check_data", "default_configuration", "resolve"]

_WORDS = {"images": "images", "text": "text", "corpus": "a corpus", "pairs": "pairs"}
_VERBS = {"images": "are", "text": "is", "corpus": "is", "pairs": "are"}


def resolve(source: Source) -> ResolvedSpec:
    """The study with its family's defaults filled in; SpecError, with lines, if they do not fit."""
    spec = files.with_absolute_checkpoints(source.spec, source.folder)
    with source.locating():
        card = _find_card(spec)
        spec = _with_task(spec, card)
        _check_meaningful(spec, card)
        resolved = merge(
            spec,
            default=card.defaults(spec.data, spec.budget.epochs),
            metrics=card.measured(spec.data) + _others(spec, card),
            epochs=card.epochs,
            min_epochs=card.min_epochs,
            costs=card.costs,
            limits=card.hard_limits,
            also=card.also,
        )
        _check_nothing_left_open(resolved)
        return resolved


def _find_card(spec: StudySpec) -> Card:
    """The card of the study's family; SpecError if it is not installed, or cannot be used."""
    if spec.family not in registry.BUILT_IN:
        if (problem := registry.problems().get(spec.family)) is not None:
            raise SpecError(issues=[Issue(("family",), problem)])
        check_family(spec, registry.names())
    return registry.card(spec.family)


def _with_task(spec: StudySpec, card: Card) -> StudySpec:
    """The study with its task settled: its data says it, or else its first metric.

    SpecError if the family or another metric does not suit it.
    """
    if spec.data is None:
        return spec
    names = spec.objective.metric or ()
    said = spec.data.task
    implied = said is None and names[:1] and names[0] in card.metrics_of_numbers
    task: Task = "regression" if implied else said or "classification"
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
    why = f"`data.task: {said}` means" if said is not None else why
    sentences = [
        Issue(("objective", "metric", place), f"{quoted(name)} is of {kind}, and {why} {whose}")
        for place, name in enumerate(names)
        if name in others
    ]
    if sentences:
        raise SpecError(issues=sentences)
    # classes are the usual thing, which data need not say
    data = spec.data.model_copy(update={"task": "regression" if task == "regression" else None})
    return spec.model_copy(update={"data": data})


def _others(spec: StudySpec, card: Card) -> tuple[str, ...]:
    """Metrics that would be possible too, for the sentence about one that is not."""
    return card.metrics_of_numbers if spec.data is not None and spec.data.task is None else ()


def _check_meaningful(spec: StudySpec, card: Card) -> None:
    """SpecError if the data names what this family passes over."""
    passed_over = [] if card.search_with_vectors else ["vectors"]
    if not card.vectors:
        passed_over += ["word_pairs", "analogies"]
    given = [name for name in passed_over if getattr(spec.data, name, None) is not None]
    if given:
        sentence = f"has no meaning with family `{card.name}`; remove it"
        raise SpecError(issues=[Issue(("data", name), sentence) for name in given])


def _check_nothing_left_open(spec: ResolvedSpec) -> None:
    """SpecError if the file does not give what only the user knows."""
    checkpoint = spec.space.parameters.get("checkpoint")
    if isinstance(checkpoint, FixedParameter) and checkpoint.value is None:
        sentence = (
            "is missing; name the pretrained model, or a list of them: a folder, "
            "`package:NAME/FOLDER`, or a name on the Hugging Face hub"
        )
        raise SpecError(issues=[Issue(("search", "checkpoint"), sentence)])


def default_configuration(spec: ResolvedSpec) -> dict[str, ParamValue]:
    """What the family's card would try first, as far as this study searches it; empty for none."""
    is_wanted = spec.sampler.learns and spec.sampler.default_first
    trials = spec.budget.trials
    if not is_wanted or (trials is not None and trials <= len(spec.enqueue)):
        return {}
    return fit_possible(registry.card(spec.family).first, spec.space)


def check_data(spec: ResolvedSpec, prepared: PreparedData) -> None:
    """DataError if the family cannot learn from the data that was prepared, or not be judged."""
    needed = registry.card(spec.family).data
    assert spec.data is not None
    if prepared.kind not in needed:
        raise DataError(
            f"family `{spec.family}` needs {' or '.join(map(_WORDS.__getitem__, needed))}; "
            f"`data: {spec.data.source}` {_VERBS[prepared.kind]} {_WORDS[prepared.kind]}"
        )
    for metric in spec.objective.metrics:
        if metric in ("bleu", "chrf") and find_spec("sacrebleu") is None:
            raise DataError(
                f"the metric `{metric}` needs the package sacrebleu, which is not installed; "
                "install it with: pip install 'tuner[translation]'"
            )
        if metric in vector_benchmarks.METRICS:
            # torch-free, but with numpy, which a launch has imported for its data anyway
            from tuner.data import corpus

            known = corpus.load(prepared, spec.data)["train"].words
            vector_benchmarks.check(spec.data, metric, frozenset(known))
