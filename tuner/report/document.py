"""One HTML file that shows a study or an experiment without tuner and without a network.

Everything is inside: style, plotly.js once, the figures' data. Its content security policy allows
exactly the two scripts it was written with (by their hashes) and no connection, so that a name that
slipped through the escaping still could not run or load anything.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import combinations
from typing import Any

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from tuner import trial_tables
from tuner.commands.experiments import TOP, StudyResult
from tuner.figures import (
    axes,
    captions,
    confirmation,
    contour,
    importance,
    pareto,
    registry,
    rivals,
    spending,
    spread,
    text,
    theme,
)
from tuner.figures.figure import Drawing, InfoT, Sample, Section
from tuner.report import findings
from tuner.report.material import Material
from tuner.report.templating import script_safe, template_environment
from tuner.trials import Study, StudyState, Trial, TrialState, finished

WIDTH = 900  # pixels of a figure that stands alone
INTERACTING = 3  # parameters of which every two have a figure
STATE_COLOUR: Mapping[StudyState, str] = {
    StudyState.ACTIVE: "running",
    StudyState.PAUSED: "pruned",
    StudyState.STOPPED: "failed",
    StudyState.FINISHED: "complete",
}


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure with its words; without a drawing, `nothing` says why."""

    id: str
    title: str
    caption: str
    drawn: go.Figure | None
    table: text.Table | None
    nothing: str = ""
    wide: int = 0  # pixels below which it scrolls rather than shrinks
    open: bool = False  # whether its table is shown at once

    @property
    def height(self) -> int:
        """Pixels, so that nothing jumps when the drawing appears."""
        return 0 if self.drawn is None else int(self.drawn.layout.height)


@dataclass(frozen=True, slots=True)
class Card:
    """A key number."""

    label: str
    value: str
    detail: str


@dataclass(frozen=True, slots=True)
class Part:
    """What the page says of one study; `prefix` keeps its ids apart from those of others."""

    prefix: str
    of: Material
    counts: findings.Counts
    cards: list[Card]
    how_found: list[str]
    space: list[tuple[str, str, str]]
    plots: dict[str, Plot]  # by what they show
    top: list[Trial]
    names: list[str]
    failures: list[findings.FailedTrials]
    method: list[tuple[str, str]]
    savings: findings.Savings | None
    data: list[tuple[str, str]]
    reproduce: str | None
    spec: str | None
    compared: StudyResult | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """A name an objective."""
        return trial_tables.metric_names(self.of.study)

    def section(self, name: Section) -> list[Plot]:
        """The registered figures of a section, in their order."""
        return [
            self.plots[figure.name]
            for figure in registry.FIGURES.values()
            if figure.section == name
        ]

    @property
    def fronts(self) -> list[Plot]:
        """The Pareto front, of several objectives."""
        return [plot for name, plot in self.plots.items() if name.startswith("pareto-")]

    @property
    def planes(self) -> list[Plot]:
        """Two parameters each."""
        return [plot for name, plot in self.plots.items() if name.startswith("pair-")]

    @property
    def confirmed(self) -> float | None:
        """The winner's mean over fresh seeds, if it was confirmed."""
        rows = confirmation.info(self.of.confirmation, self.of.study).rows
        return next(
            (r.mean for r in rows if self.of.best and r.number == self.of.best.number), None
        )


def render(one: Material, *, versions: Mapping[str, str]) -> str:
    """The page of a study; its time is that of the material."""
    part = _part(one)
    return _page(
        "report.html.j2",
        part.plots.values(),
        title=one.study.name,
        part=part,
        subtitle=_subtitle(one.study),
        versions=versions,
        now=findings.moment(one.now),
    )


def render_experiment(
    name: str, found: Sequence[tuple[StudyResult, Material]], *, versions: Mapping[str, str]
) -> str:
    """The page of an experiment: its families compared, the best first, and a part of each."""
    parts = [
        replace(_part(one, f"study-{place}-"), compared=compared)
        for place, (compared, one) in enumerate(found, start=1)
    ]
    plots = _comparison(found)
    first = found[0][1]
    every = [*plots.values(), *(plot for part in parts for plot in part.plots.values())]
    return _page(
        "experiment.html.j2",
        every,
        title=name,
        parts=parts,
        plots=plots,
        cards=_experiment_cards(found),
        subtitle=_subtitle(first.study, text.count(len(found), "family", "families")),
        data=findings.data(first.study),
        top=TOP,
        versions=versions,
        now=findings.moment(first.now),
    )


def _page(template: str, drawn: Iterable[Plot], /, **content: Any) -> str:
    page = _template(template).render(
        epochs=findings.epochs,
        state_colour=STATE_COLOUR,
        palettes={"light": theme.LIGHT.variables(), "dark": theme.DARK.variables()},
        fonts={"text": theme.FONT, "monospace": theme.MONOSPACE},
        payload=_payload(drawn),
        **content,
        **_assets(),
    )
    # lone surrogates cannot be written as UTF-8
    return page.encode("utf-8", errors="replace").decode("utf-8")


def _part(one: Material, prefix: str = "") -> Part:
    study, trials = one.study, one.trials
    return Part(
        prefix=prefix,
        of=one,
        counts=findings.counts(study, trials),
        cards=_cards(study, trials, one.best),
        how_found=[] if one.best is None else findings.how_found(study, trials, one.best),
        space=_space(one.space, trials, one.best),
        plots=_plots(one, prefix),
        top=findings.top(study, trials),
        names=_names(trials, one.importances),
        failures=findings.failures(trials),
        method=findings.method(study),
        savings=findings.savings(study, trials),
        data=findings.data(study),
        reproduce=findings.reproduce(study, one.best),
        spec=None if study.spec is None else json.dumps(study.spec, indent=2, ensure_ascii=False),
    )


def figures(one: Material) -> dict[str, go.Figure]:
    """The page's figures that have something to show, by name, as wide as they need."""
    return _drawn(_plots(one))


def figures_of_experiment(found: Sequence[tuple[StudyResult, Material]]) -> dict[str, go.Figure]:
    """The same of an experiment: those that compare, and each family's with its name before."""
    drawn = _drawn(_comparison(found))
    for _, one in found:
        drawn |= _drawn(_plots(one, f"{one.study.family}-"))
    return drawn


def _drawn(plots: Mapping[str, Plot]) -> dict[str, go.Figure]:
    return {
        plot.id: go.Figure(plot.drawn).update_layout(width=max(WIDTH, plot.wide))
        for plot in plots.values()
        if plot.drawn is not None
    }


def _plots(one: Material, prefix: str = "") -> dict[str, Plot]:
    """The figures in the order of the page; some are there only where they have a meaning."""
    study, trials = one.study, one.trials
    sample = Sample(study, trials, one.log_params, one.importances, one.baselines, one.now)
    of_spending = spending.info(one.attempts, one.now)
    plots = [
        *_confirmation(one),
        *_fronts(study, trials),
        *_registered("progress", sample),
        _plot("spending", "Spending", captions.of_spending(of_spending), of_spending, spending),
        *_registered("importance", sample),
        *_planes(one),
        *_registered("parameters", sample),
    ]
    return {plot.id: replace(plot, id=f"{prefix}{plot.id}") for plot in plots}


def _registered(section: Section, sample: Sample) -> list[Plot]:
    plots = []
    for figure in registry.FIGURES.values():
        if figure.section == section:
            info = figure.info(sample)
            plots.append(
                _plot(
                    figure.name,
                    figure.title,
                    figure.caption(info),
                    info,
                    figure.module,
                    wide=figure.min_width(info),
                )
            )
    return plots


def _confirmation(one: Material) -> list[Plot]:
    info = confirmation.info(one.confirmation, one.study)
    if info.nothing:
        return []
    caption = captions.of_confirmation(info)
    return [replace(_plot("confirmation", "Confirmation", caption, info, confirmation), open=True)]


def _fronts(study: Study, trials: Sequence[Trial]) -> list[Plot]:
    """The Pareto front, in the plane of the first objective and each other one."""
    fronts = []
    for other in range(1, len(study.directions)):
        info = pareto.info(trials, study, 0, other)
        title = f"Pareto front: {info.metrics[0]} and {info.metrics[1]}"
        fronts.append(_plot(f"pareto-{other}", title, captions.of_pareto(info), info, pareto))
    return fronts


def _planes(one: Material) -> list[Plot]:
    """Every two of the most important parameters."""
    complete = [t for t in one.trials if t.state is TrialState.COMPLETE]
    candidates = axes.axes(complete, one.study, one.log_params, one.importances)
    names = [axis.name for axis in candidates if len(axis.categories) != 1][:INTERACTING]
    planes: list[Plot] = []
    for x, y in combinations(names, 2):
        info = contour.info(
            complete, one.study, log_params=one.log_params, x=x, y=y, limit=contour.MAX_POINTS
        )
        if len(info.trials) >= importance.MIN_TRIALS:
            title = f"{text.short(x, 24)} and {text.short(y, 24)}"
            planes.append(_plot(f"pair-{len(planes) + 1}", title, "", info, contour))
    return planes


def _comparison(studies: Sequence[tuple[StudyResult, Material]]) -> dict[str, Plot]:
    families = [rivals.Rival(one.study.family or "", one.study, one.trials) for _, one in studies]
    by_trials, by_time = rivals.info(families, "trials"), rivals.info(families, "time")
    boxes = spread.info(families)
    plots = (
        _plot(
            "by-trials", "Best so far by trials", captions.of_rivals(by_trials), by_trials, rivals
        ),
        _plot("by-time", "Best so far by time", captions.of_rivals(by_time), by_time, rivals),
        _plot("spread", "Spread", captions.of_spread(boxes), boxes, spread),
    )
    return {plot.id: plot for plot in plots}


def _experiment_cards(found: Sequence[tuple[StudyResult, Material]]) -> list[Card]:
    compared, first = found[0]
    trials = sum(finished(one.overview.counts) for one, _ in found)
    cards = [
        Card(
            f"Best {first.study.metric}",
            text.number(compared.top[0] if compared.top else None),
            f"{first.study.family}, trial {compared.best.number}"
            if compared.best is not None
            else "no trial is complete yet",
        )
    ]
    if len(found) > 1 and compared.top and found[1][0].top:
        gap = abs(compared.top[0] - found[1][0].top[0])
        family = found[1][1].study.family
        cards.append(Card("Ahead of the next", text.number(gap), f"{family}"))
    seconds = sum(one.seconds for one, _ in found)
    cards.append(
        Card("Trials ended", f"{trials:,}", f"in {text.count(len(found), 'study', 'studies')}")
    )
    cards.append(Card("Time of trials", text.duration(seconds), "of all studies together"))
    return cards


def _plot(
    id_: str,
    title: str,
    caption: str,
    info: InfoT,
    drawing: Drawing[InfoT],
    *,
    wide: int = 0,
) -> Plot:
    if info.nothing:
        return Plot(id_, title, "", None, None, info.nothing)
    return Plot(id_, title, caption, drawing.draw(info), drawing.table(info), wide=wide)


def _subtitle(study: Study, who: str | None = None) -> str:
    who = who or study.family or "made through Optuna"
    parts = [who, f"{study.direction} {study.metric}"]
    source = findings.at(study.spec, "data", "source")
    if source:
        parts.append(f"on {source}")
    if len(study.directions) > 1:
        parts.append(f"first of {len(study.directions)} objectives")
    return " · ".join(parts)


def _cards(study: Study, trials: Sequence[Trial], found: Trial | None) -> list[Card]:
    counts = findings.counts(study, trials)
    cards = [
        Card(
            f"Best {study.metric}",
            "–" if found is None else text.number(found.value),
            "no trial is complete yet" if found is None else f"trial {found.number}",
        ),
        Card(
            "Trials",
            f"{counts.finished:,}" + (f" / {counts.budget:,}" if counts.budget else ""),
            "",  # the bar and its legend
        ),
    ]
    saved = findings.savings(study, trials)
    if saved is not None:
        cards.append(
            Card(
                "Saved by pruning",
                importance.percent(saved.share),
                f"{text.count(saved.run, 'epoch')} run of {saved.full:,}",
            )
        )
    end = findings.ended(study, trials)
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


def _space(
    space: Mapping[str, str], trials: Sequence[Trial], found: Trial | None
) -> list[tuple[str, str, str]]:
    """Parameter, range, the best trial's value; ranges are what was tried where none is known."""
    known = dict(space)
    if not known:
        for name in _names(trials, None):
            axis = axes.axis(name, [t.params[name] for t in trials if name in t.params])
            ticks = ", ".join(axis.ticks()[1])
            extent = f"{text.number(axis.low)} … {text.number(axis.high)}"
            known[name] = f"tried: {ticks if axis.kind == 'categories' else extent}"
    chosen = {} if found is None else found.params
    return [(n, r, text.value(chosen[n]) if n in chosen else "") for n, r in known.items()]


def _names(trials: Sequence[Trial], importances: Mapping[str, float] | None) -> list[str]:
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    if importances:
        names.sort(key=lambda name: -importances.get(name, -1.0))
    return names


def _payload(plots: Iterable[Plot]) -> Markup:
    """The figures as JSON that cannot end its script element, whatever names it holds."""
    figures = ",".join(
        f"{json.dumps(plot.id)}:{plot.drawn.to_json()}" for plot in plots if plot.drawn is not None
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
    """Our own files and plotly.js, as they stand in the page, with the hashes that allow them."""
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
