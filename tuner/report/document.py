"""One HTML file that shows a study to somebody who has neither tuner nor a network.

Everything is inside: style, plotly.js once, the figures' data. Its content security policy allows
exactly the two scripts it was written with (by their hashes) and no connection, so that a name that
slipped through the escaping still could not run or load anything.
"""

import base64
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from tuner.figures import axes, captions, curves, history, importance, parallel, slices, text, theme
from tuner.report import facts
from tuner.report.templating import script_safe, template_environment
from tuner.trials import Study, StudyState, Trial

WIDTH = 900  # pixels of a figure that stands alone
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


def render(
    study: Study,
    trials: Sequence[Trial],
    *,
    importances: Mapping[str, float] | None,
    log_params: Collection[str],
    space: Mapping[str, str],
    export_yaml: str | None,
    versions: Mapping[str, str],
    now: datetime | None = None,
) -> str:
    """The page.

    `space` maps each parameter to its range in words; `export_yaml` is the best configuration;
    `now` is printed as the time of the report.
    """
    found = facts.best(study, trials)
    counts = facts.counts(study, trials)
    plots = _plots(study, trials, importances, log_params)
    names = _names(trials, importances)
    page = _template().render(
        study=study,
        state_colour=STATE_COLOUR[study.state],
        subtitle=_subtitle(study),
        counts=counts,
        cards=_cards(study, trials, found),
        best=found,
        how_found=[] if found is None else facts.how_found(study, trials, found),
        export_yaml=export_yaml,
        space=_space(space, trials, found),
        plots=plots,
        top=facts.top(study, trials),
        names=names,
        failures=facts.failures(trials),
        method=facts.method(study),
        savings=facts.savings(study, trials),
        data=facts.data(study),
        versions=versions,
        reproduce=facts.reproduce(study, found),
        spec=None if study.spec is None else json.dumps(study.spec, indent=2, ensure_ascii=False),
        now=facts.moment(now or datetime.now(UTC)),
        epochs=facts.epochs,
        palettes={"light": theme.LIGHT.variables(), "dark": theme.DARK.variables()},
        fonts={"text": theme.FONT, "monospace": theme.MONOSPACE},
        payload=_payload(plots),
        **_assets(),
    )
    # lone surrogates cannot be written as UTF-8
    return page.encode("utf-8", errors="replace").decode("utf-8")


def figures(
    study: Study,
    trials: Sequence[Trial],
    importances: Mapping[str, float] | None,
    log_params: Collection[str],
) -> dict[str, go.Figure]:
    """The page's figures that have something to show, by name, as wide as they need."""
    plots = _plots(study, trials, importances, log_params)
    return {
        name: go.Figure(plot.drawn).update_layout(width=max(WIDTH, plot.wide))
        for name, plot in plots.items()
        if plot.drawn is not None
    }


def _plots(
    study: Study,
    trials: Sequence[Trial],
    importances: Mapping[str, float] | None,
    log_params: Collection[str],
) -> dict[str, Plot]:
    of_history = history.info(trials, study)
    of_curves = curves.info(trials, study)
    of_importance = importance.info(importances)
    by_axis = {"log_params": log_params, "importances": importances}
    of_parallel = parallel.info(trials, study, **by_axis)  # type: ignore[arg-type]
    of_slices = slices.info(trials, study, **by_axis)  # type: ignore[arg-type]
    made = (
        _plot("history", "History", captions.of_history(of_history), of_history, history),
        _plot("curves", "Learning curves", captions.of_curves(of_curves), of_curves, curves),
        _plot(
            "importance",
            "Importance",
            captions.of_importance(study.metric),
            of_importance,
            importance,
            nothing=captions.why_no_importance(trials),
        ),
        _plot(
            "parallel",
            "Parallel coordinates",
            captions.of_parallel(of_parallel),
            of_parallel,
            parallel,
            wide=96 * (len(of_parallel.dimensions) + 1),
        ),
        _plot("slices", "Slices", captions.of_slices(of_slices), of_slices, slices),
    )
    return {plot.id: plot for plot in made}


def _plot(
    id_: str, title: str, caption: str, found: Any, module: Any, *, nothing: str = "", wide: int = 0
) -> Plot:
    if found.nothing:
        return Plot(id_, title, "", None, None, nothing or found.nothing)
    return Plot(id_, title, caption, module.draw(found), module.table(found), wide=wide)


def _subtitle(study: Study) -> str:
    parts = [study.family or "made through Optuna", f"{study.direction} {study.metric}"]
    source = facts.at(study.spec, "data", "source")
    if source:
        parts.append(f"on {source}")
    if len(study.directions) > 1:
        parts.append(f"first of {len(study.directions)} objectives")
    return " · ".join(parts)


def _cards(study: Study, trials: Sequence[Trial], found: Trial | None) -> list[Card]:
    counts = facts.counts(study, trials)
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
    saved = facts.savings(study, trials)
    if saved is not None:
        cards.append(
            Card(
                "Saved by pruning",
                importance.percent(saved.share),
                f"{saved.run:,} epochs run of {saved.full:,}",
            )
        )
    end = facts.ended(study, trials)
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


def _payload(plots: Mapping[str, Plot]) -> Markup:
    """The figures as JSON that cannot end its script element, whatever names it holds."""
    figures = ",".join(
        f"{json.dumps(plot.id)}:{plot.drawn.to_json()}"
        for plot in plots.values()
        if plot.drawn is not None
    )
    rest = json.dumps({"config": dict(theme.CONFIG), "dark": theme.dark_of()})
    return script_safe(f'{{"figures":{{{figures}}},{rest[1:]}')


@cache
def _template() -> jinja2.Template:
    environment = template_environment(
        "tuner.report", moment=facts.moment, percent=importance.percent
    )
    return environment.get_template("report.html.j2")


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
