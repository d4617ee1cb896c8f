"""One HTML file that shows a study or an experiment without tuner and without a network.

It contains everything: the style, plotly.js once, the figures' data. Its content security policy
allows only the two scripts it was written with (by their hashes) and no connection, so a name that
slipped through the escaping still could not run or load anything.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from tuner import trial_tables
from tuner.commands.experiments import TOP, StudyResult
from tuner.figures import (
    axes,
    confirmation,
    importance,
    registry,
    text,
    theme,
)
from tuner.figures.figure import Section
from tuner.report import findings, plots
from tuner.report.inputs import ReportInputs
from tuner.report.plots import Plot
from tuner.report.templating import script_safe, template_environment
from tuner.trials import Study, StudyState, Trial, count_finished
from tuner.winner import feasibility

STATE_COLOUR: Mapping[StudyState, str] = {
    StudyState.ACTIVE: "running",
    StudyState.PAUSED: "pruned",
    StudyState.STOPPED: "failed",
    StudyState.FINISHED: "complete",
}


@dataclass(frozen=True, slots=True)
class Card:
    """A key number."""

    label: str
    value: str
    detail: str


@dataclass(frozen=True, slots=True)
class StudyReport:
    """What the page says about one study; `prefix` makes its ids unique on the page."""

    prefix: str
    inputs: ReportInputs
    counts: findings.Counts
    cards: list[Card]
    how_found: list[str]
    space: list[tuple[str, str, str]]
    plots: dict[str, Plot]  # by name
    top: list[Trial]
    names: list[str]
    failures: list[findings.FailedTrials]
    method: list[tuple[str, str]]
    savings: findings.Savings | None
    data: list[tuple[str, str]]
    reproduce: str | None
    spec: str | None
    result: StudyResult | None = None  # of a family in an experiment

    @property
    def why_none(self) -> str:
        """Why there is no best trial."""
        sentence = _why_none(self.inputs.study, self.inputs.trials)
        return f"{sentence[0].upper()}{sentence[1:]}"

    @property
    def metrics(self) -> tuple[str, ...]:
        """One name per objective."""
        return trial_tables.metric_names(self.inputs.study)

    def section(self, name: Section) -> list[Plot]:
        """Return the registered figures of a section, in their order."""
        return [
            self.plots[figure.name]
            for figure in registry.FIGURES.values()
            if figure.section == name
        ]

    @property
    def fronts(self) -> list[Plot]:
        """The Pareto fronts, if there are several objectives."""
        return [plot for name, plot in self.plots.items() if name.startswith("pareto-")]

    @property
    def planes(self) -> list[Plot]:
        """The figures of two parameters each."""
        return [plot for name, plot in self.plots.items() if name.startswith("pair-")]

    @property
    def confirmed(self) -> float | None:
        """The winner's mean over fresh seeds, if it was confirmed."""
        rows = confirmation.info(self.inputs.confirmation, self.inputs.study).rows
        return next(
            (r.mean for r in rows if self.inputs.best and r.number == self.inputs.best.number), None
        )


def render_study(inputs: ReportInputs, *, versions: Mapping[str, str]) -> str:
    """Return the page of a study."""
    report = _study_report(inputs)
    return _page(
        "report.html.j2",
        report.plots.values(),
        title=inputs.study.name,
        report=report,
        subtitle=_subtitle(inputs.study),
        versions=versions,
        now=findings.moment(inputs.now),
    )


def render_experiment(
    name: str, studies: Sequence[tuple[StudyResult, ReportInputs]], *, versions: Mapping[str, str]
) -> str:
    """Return the page of an experiment: its families compared, best first, and each in detail."""
    reports = [
        replace(_study_report(inputs, f"study-{place}-"), result=result)
        for place, (result, inputs) in enumerate(studies, start=1)
    ]
    comparison = plots.of_experiment(studies)
    first = studies[0][1]
    every_plot = [*comparison.values(), *(p for report in reports for p in report.plots.values())]
    return _page(
        "experiment.html.j2",
        every_plot,
        title=name,
        reports=reports,
        plots=comparison,
        cards=_experiment_cards(studies),
        subtitle=_subtitle(first.study, text.count(len(studies), "family", "families")),
        data=findings.describe_data(first.study),
        top=TOP,
        versions=versions,
        now=findings.moment(first.now),
    )


def _page(template: str, page_plots: Iterable[Plot], /, **content: Any) -> str:
    page = _template(template).render(
        epochs=findings.epochs,
        state_colour=STATE_COLOUR,
        palettes={"light": theme.LIGHT.variables(), "dark": theme.DARK.variables()},
        fonts={"text": theme.FONT, "monospace": theme.MONOSPACE},
        payload=_payload(page_plots),
        **content,
        **_assets(),
    )
    # lone surrogates cannot be written as UTF-8
    return page.encode("utf-8", errors="replace").decode("utf-8")


def _study_report(inputs: ReportInputs, prefix: str = "") -> StudyReport:
    study, trials, best = inputs.study, inputs.trials, inputs.best
    return StudyReport(
        prefix=prefix,
        inputs=inputs,
        counts=findings.count_by_state(study, trials),
        cards=_cards(study, trials, best),
        how_found=[] if best is None else findings.describe_best(study, trials, best),
        space=_space(inputs.space, trials, best),
        plots=plots.of_study(inputs, prefix),
        top=findings.rank_best(study, trials),
        names=_names(trials, inputs.importances),
        failures=findings.group_failures(trials),
        method=findings.describe_method(study),
        savings=findings.measure_savings(study, trials),
        data=findings.describe_data(study),
        reproduce=findings.commands_to_reproduce(study, best),
        spec=None if study.spec is None else json.dumps(study.spec, indent=2, ensure_ascii=False),
    )


def draw_study(inputs: ReportInputs) -> dict[str, go.Figure]:
    """Return the figures of a study's page that have something to show, by name."""
    return plots.sized(plots.of_study(inputs))


def draw_experiment(studies: Sequence[tuple[StudyResult, ReportInputs]]) -> dict[str, go.Figure]:
    """Return the figures that compare families, and each family's, prefixed with its name."""
    figures = plots.sized(plots.of_experiment(studies))
    for _, inputs in studies:
        figures |= plots.sized(plots.of_study(inputs, f"{inputs.study.family}-"))
    return figures


def _experiment_cards(studies: Sequence[tuple[StudyResult, ReportInputs]]) -> list[Card]:
    result, first = studies[0]
    trials = sum(count_finished(study.overview.counts) for study, _ in studies)
    cards = [
        Card(
            f"Best {first.study.metric}",
            text.number(result.top[0] if result.top else None),
            f"{first.study.family}, trial {result.best.number}"
            if result.best is not None
            else "no trial is complete yet",
        )
    ]
    if len(studies) > 1 and result.top and studies[1][0].top:
        gap = abs(result.top[0] - studies[1][0].top[0])
        family = studies[1][1].study.family
        cards.append(Card("Ahead of the next", text.number(gap), f"{family}"))
    seconds = sum(study.seconds for study, _ in studies)
    cards.append(
        Card("Trials ended", f"{trials:,}", f"in {text.count(len(studies), 'study', 'studies')}")
    )
    cards.append(Card("Trial time", text.duration(seconds), "total of all studies"))
    return cards


def _subtitle(study: Study, origin: str | None = None) -> str:
    origin = origin or study.family or "made through Optuna"
    parts = [origin, f"{study.direction} {study.metric}"]
    source = findings.lookup(study.spec, "data", "source")
    if source:
        parts.append(f"on {source}")
    if len(study.directions) > 1:
        parts.append(f"first of {len(study.directions)} objectives")
    return " · ".join(parts)


def _cards(study: Study, trials: Sequence[Trial], best: Trial | None) -> list[Card]:
    counts = findings.count_by_state(study, trials)
    cards = [
        Card(
            f"Best {study.metric}",
            "–" if best is None else text.number(best.value),
            _why_none(study, trials) if best is None else f"trial {best.number}",
        ),
        Card(
            "Trials",
            f"{counts.finished:,}" + (f" / {counts.budget:,}" if counts.budget else ""),
            "",  # the bar and its legend
        ),
    ]
    saved = findings.measure_savings(study, trials)
    if saved is not None:
        cards.append(
            Card(
                "Saved by pruning",
                importance.percent(saved.share),
                f"{text.count(saved.run, 'epoch')} run of {saved.full:,}",
            )
        )
    end = findings.find_end(study, trials)
    if end is not None and study.created_at is not None:
        trained = sum(t.seconds or 0.0 for t in trials)
        cards.append(
            Card(
                "Duration",
                text.duration((end - study.created_at).total_seconds()),
                f"{text.duration(trained)} of training",
            )
        )
    return cards


def _why_none(study: Study, trials: Sequence[Trial]) -> str:
    return feasibility.describe_infeasible(trials, study) or "no trial is complete yet"


def _space(
    space: Mapping[str, str], trials: Sequence[Trial], best: Trial | None
) -> list[tuple[str, str, str]]:
    """Return parameter, range and the best trial's value; an unknown range is what was tried."""
    ranges = dict(space)
    if not ranges:
        for name in _names(trials, None):
            axis = axes.axis(name, [t.params[name] for t in trials if name in t.params])
            ticks = ", ".join(axis.ticks()[1])
            extent = f"{text.number(axis.low)} … {text.number(axis.high)}"
            ranges[name] = f"tried: {ticks if axis.kind == 'categories' else extent}"
    params = {} if best is None else best.params
    return [(n, r, text.value(params[n]) if n in params else "") for n, r in ranges.items()]


def _names(trials: Sequence[Trial], importances: Mapping[str, float] | None) -> list[str]:
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    if importances:
        names.sort(key=lambda name: -importances.get(name, -1.0))
    return names


def _payload(page_plots: Iterable[Plot]) -> Markup:
    """Return the figures as JSON that cannot end its script element, whatever it holds."""
    figures = ",".join(
        f"{json.dumps(plot.id)}:{plot.figure.to_json()}"
        for plot in page_plots
        if plot.figure is not None
    )
    rest = json.dumps({"config": dict(theme.CONFIG), "dark": theme.dark_of()})
    return script_safe(f'{{"figures":{{{figures}}},{rest[1:]}')


@cache
def _template(name: str) -> jinja2.Template:
    environment = template_environment(
        "tuner.report", moment=findings.moment, percent=importance.percent, size=text.size
    )
    return environment.get_template(name)


@cache
def _assets() -> dict[str, Any]:
    """Return our own files and plotly.js, with the hashes that allow the scripts."""
    folder = resources.files("tuner.report") / "templates"
    script = (folder / "report.js").read_text(encoding="utf-8")
    library = get_plotlyjs()
    if "</script" in library.lower() or "</script" in script.lower():
        raise AssertionError("a script would end early in the page")
    return {
        "style": Markup((folder / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - ours
        "library": Markup(library),  # noqa: S704 - as installed
        "script": Markup(script),  # noqa: S704 - ours
        "hashes": [_hash(library), _hash(script)],
    }


def _hash(script: str) -> Markup:
    digest = hashlib.sha256(script.encode()).digest()
    return Markup(f"sha256-{base64.b64encode(digest).decode()}")  # noqa: S704 - base64
