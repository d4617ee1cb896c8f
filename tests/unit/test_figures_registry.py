"""Every figure is registered, and a registered figure appears everywhere."""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from tests.support import synthetic
from tuner import figures
from tuner.dashboard.plots.figures import unplaced
from tuner.figures import edf, registry
from tuner.figures.figure import Figure, Sample
from tuner.report import document
from tuner.report.inputs import ReportInputs
from tuner.trials import Trial, best_trial

ELSEWHERE = {  # read more than one study's trials: only the report draws them
    "confirmation",
    "rivals",
    "spending",
    "spread",
}


def test_every_figure_is_registered() -> None:
    modules = {
        name
        for _, name, _ in pkgutil.iter_modules(figures.__path__)
        if hasattr(importlib.import_module(f"tuner.figures.{name}"), "draw")
    }
    assert modules == set(registry.FIGURES) | ELSEWHERE


def _with_two_values(trial: Trial) -> Trial:
    return replace(trial, values=trial.values and (trial.values[0], float(trial.number)))


@pytest.mark.parametrize("name", registry.FIGURES)
def test_a_registered_figure_has_a_drawing_a_table_and_a_caption(name: str) -> None:
    figure = registry.FIGURES[name]
    study = synthetic.study(directions=("maximize", "minimize"), metrics=("accuracy", "seconds"))
    trials = [_with_two_values(trial) for trial in synthetic.trials(60)]
    info = figure.info(Sample(study, trials, synthetic.LOG, synthetic.IMPORTANCES))
    assert info.nothing is None
    assert figure.module.draw(info).data
    assert figure.module.table(info).rows
    assert figure.caption(info).endswith(".")
    assert figure.title


@pytest.mark.parametrize("name", registry.FIGURES)
def test_a_registered_figure_says_why_there_is_nothing_to_draw(name: str) -> None:
    figure = registry.FIGURES[name]
    info = figure.info(Sample(synthetic.study(), []))
    assert info.nothing is not None
    assert info.nothing.endswith(".")
    assert info.nothing in str(figure.module.draw(info).layout.annotations[0].text)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Figure[edf.Info]:
    """A figure that is registered, and touched nowhere else."""
    toy = Figure(
        "toy",
        "Toy",
        edf,
        registry.FIGURES["edf"].info,
        lambda _info: "A toy.",
        section="parameters",
    )
    figures: Mapping[str, Figure[Any]] = MappingProxyType({**registry.FIGURES, "toy": toy})
    monkeypatch.setattr(registry, "FIGURES", figures)
    return toy


def test_an_entry_of_the_registry_is_all_that_reports_and_pages_need(
    toy: Figure[edf.Info],
) -> None:
    trials = synthetic.trials(40)
    inputs = ReportInputs(synthetic.study(), trials, best=best_trial(trials, "maximize"))
    page = document.render_study(inputs, versions={})
    assert '<div class="drawing" data-figure="toy"' in page
    assert "A toy." in page
    assert "toy" in document.draw_study(inputs)
    assert toy in unplaced()
