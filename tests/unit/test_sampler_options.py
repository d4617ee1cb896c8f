"""Options of samplers, and what a sampler cannot work with, in one sentence at launch."""

from pathlib import Path

import pytest

from tuner.errors import SpecError
from tuner.families import resolve
from tuner.study_file.dump import dump
from tuner.study_file.load import loads
from tuner.study_file.messages import written
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.samplers import SAMPLERS
from tuner.study_file.search_checks import notes_on_sampler

HEAD = "name: x\nfamily: function\nfunction: train:train\n"
RANGES = "search: {rate: {low: 1e-4, high: 1.0, log: true}, kind: [a, b]}\n"
ONE, TWO = "objective: {metric: accuracy}\n", "objective: {metric: [accuracy, latency]}\n"


def read(text: str) -> ResolvedSpec:
    return resolve(loads(HEAD + text))


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        (
            "{name: nsga2, options: {popsize: 9}}",
            "sampler.options: unknown key `popsize`; did you mean `population_size`?",
        ),
        (
            "{name: nsga2, options: {population_size: 2}}",
            "sampler.options.population_size: must be at least 4, is `2`",
        ),
        (
            "{name: nsga3, options: {crossover: undxx}}",
            "sampler.options.crossover: must be one of uniform, blx_alpha, sbx, spx, undx, vsbx; "
            "is the text `undxx`; did you mean `undx`?",
        ),
        (
            "{name: tpe, options: {group: 1}}",
            "sampler.options.group: must be true or false, is `1`",
        ),
        ("{name: cmaes, options: {sigma: 0}}", "sampler.options.sigma: must be above 0, is `0`"),
        ("{name: random, options: {seed: 1}}", "sampler.options: unknown key `seed`"),
        (
            "{name: grid, options: 5}",
            "sampler.options: must be a section of `key: value` lines, is",
        ),
    ],
)
def test_a_wrong_option_is_one_sentence(section: str, sentence: str) -> None:
    with pytest.raises(SpecError) as raised:
        read(f"{ONE}{RANGES}sampler: {section}\n")

    assert sentence in str(raised.value)


def test_options_are_stored_as_written_and_read_back() -> None:
    spec = read(f"{ONE}{RANGES}sampler: {{name: nsga2, options: {{population_size: 2e1}}}}\n")

    assert spec.sampler.options == {"population_size": 20}
    assert ResolvedSpec.from_json(spec.as_json()) == spec
    assert dump(spec)["sampler"] == {"name": "nsga2", "options": {"population_size": 20}}


def test_a_study_that_was_stored_without_options_is_read() -> None:
    stored = read(f"{ONE}{RANGES}sampler: tpe\n").as_json()
    del stored["sampler"]["options"]

    assert ResolvedSpec.from_json(stored).sampler.options == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            f"{ONE}search: {{kind: [a, b]}}\n",
            "sampler: cmaes needs a range to search and the space has none; choose tpe or random",
        ),
        (
            f"{TWO}{RANGES}",
            "sampler: cmaes optimizes one metric, not 2; choose tpe, gp or nsga2",
        ),
    ],
)
def test_cmaes_says_where_it_cannot_work(text: str, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        read(f"{text}sampler: cmaes\n")


def test_what_a_genetic_algorithm_does_not_learn_from_is_a_note() -> None:
    size, several, pruned = notes_on_sampler(read(f"{ONE}{RANGES}sampler: nsga2\n"))

    assert "the budget is 40 trials: all are drawn at random; lower" in size
    assert several.startswith("NSGA-II is made for several metrics; for one, `gp`, `tpe`")
    assert "pruned ones, which `pruner: rungs` makes of most, teach it nothing" in pruned


def test_a_genetic_algorithm_on_two_metrics_with_enough_trials_needs_no_note() -> None:
    spec = read(f"{TWO}{RANGES}sampler: nsga3\nbudget: {{trials: 400}}\npruner: none\n")

    assert list(notes_on_sampler(spec)) == []


def test_the_page_of_study_files_has_each_option_with_its_default() -> None:
    page = (Path(__file__).parents[2] / "docs" / "study-file.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    documented = {
        (sampler, row[1].strip("`")): row[3]
        for row in rows
        for sampler in row[0].split(", ")
        if sampler in SAMPLERS and len(row) == 5
    }
    expected = {
        (name, option): "–" if field.default is None else f"`{written(field.default)}`"
        for name, card in SAMPLERS.items()
        for option, field in card.options.model_fields.items()
    }
    for name in ("nsga2", "nsga3"):  # one row for them and cmaes, whose default differs
        expected[name, "population_size"] = "–"
    expected["tpe", "multivariate"] = "`true`"

    assert documented == expected


# Classes

CMAES = (
    "sampler: {class: 'optuna.samplers:CmaEsSampler', options: {popsize: 8}}\n"
    "pruner: 'optuna.pruners:NopPruner'\n"
)


def test_a_class_is_stored_and_written_without_a_name() -> None:
    spec = read(f"{ONE}{RANGES}{CMAES}")

    assert (spec.sampler.name, spec.sampler.label) == (None, "optuna.samplers:CmaEsSampler")
    assert spec.as_json()["sampler"]["class"] == "optuna.samplers:CmaEsSampler"
    assert ResolvedSpec.from_json(spec.as_json()) == spec
    written_section = {"class": "optuna.samplers:CmaEsSampler", "options": {"popsize": 8}}
    assert dump(spec)["sampler"] == written_section
    assert dump(spec)["pruner"] == {"class": "optuna.pruners:NopPruner"}
    assert list(notes_on_sampler(spec)) == []


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        (
            "sampler: {class: optuna.samplers.GridSampler}",
            "sampler.class: must be written as `package.module:Class`, is the text "
            "`optuna.samplers.GridSampler`; did you mean `optuna.samplers:GridSampler`?",
        ),
        (
            "sampler: {class: 'a:B', name: tpe}",
            "sampler.class: has no meaning beside `name`; remove one of them",
        ),
        (
            "sampler: {class: 'a:B', options: {inner: {class: nowhere}}}",
            "sampler: must be written as `package.module:Class`, is the text `nowhere`",
        ),
        (
            "pruner: {name: median, options: {n: 3}}",
            "pruner.options: are the arguments of a `class`; remove them",
        ),
    ],
)
def test_a_wrong_class_is_one_sentence(section: str, sentence: str) -> None:
    with pytest.raises(SpecError) as raised:
        read(f"{ONE}{RANGES}{section}\n")

    assert sentence in str(raised.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            f"{ONE}{RANGES}sampler: {{class: 'optuna.samplers:GridSampler', "
            "options: {search_space: {rate: [0.1], kid: [a]}}}\n",
            "sampler.options: needs `search_space` with a list for each parameter that is "
            "searched: rate, kind; or choose `sampler: grid`, which knows them",
        ),
        (
            f"{TWO}{RANGES}sampler: 'optuna.samplers:CmaEsSampler'\n",
            "sampler: optimizes one metric, not 2; choose tpe, gp or nsga2",
        ),
        (
            f"{TWO}{RANGES}pruner: 'optuna.pruners:MedianPruner'\n",
            "pruner: Optuna's pruners compare one metric; with several, write rungs, hyperband",
        ),
    ],
)
def test_classes_of_optuna_that_cannot_work_are_refused(text: str, sentence: str) -> None:
    with pytest.raises(SpecError) as raised:
        read(text)

    assert sentence in str(raised.value)


def test_a_class_that_learns_from_complete_trials_only_is_a_note() -> None:
    spec = read(f"{ONE}{RANGES}sampler: 'optuna.samplers:GPSampler'\n")

    (note,) = notes_on_sampler(spec)
    assert note.startswith("optuna.samplers:GPSampler learns from complete trials only")
