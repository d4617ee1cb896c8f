"""The figures of a report with their titles and captions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import plotly.graph_objects as go

from tuner.commands.experiments import StudyResult
from tuner.figures import (
    axes,
    captions,
    confirmation,
    contour,
    hypervolume,
    importance,
    pareto,
    registry,
    rivals,
    spending,
    spread,
    text,
)
from tuner.figures.figure import Drawing, InfoT, Sample, Section
from tuner.report.inputs import ReportInputs
from tuner.trials import Study, Trial, TrialState

WIDTH = 900  # pixels of a figure that stands alone
INTERACTING = 3  # parameters; each pair of them has a figure


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure with its title and caption; without a drawing, `nothing` says why."""

    id: str
    title: str
    caption: str
    figure: go.Figure | None
    table: text.Table | None
    nothing: str = ""
    wide: int = 0  # pixels below which it scrolls rather than shrinks
    table_open: bool = False  # whether its table is shown at first

    @property
    def height(self) -> int:
        """Pixels: reserving them keeps the page from jumping when the drawing appears."""
        return 0 if self.figure is None else int(self.figure.layout.height)


def sized(plots: Mapping[str, Plot]) -> dict[str, go.Figure]:
    """Return the drawings by id, each as wide as it needs."""
    return {
        plot.id: go.Figure(plot.figure).update_layout(width=max(WIDTH, plot.wide))
        for plot in plots.values()
        if plot.figure is not None
    }


def of_study(inputs: ReportInputs, prefix: str = "") -> dict[str, Plot]:
    """Return the figures in the order of the page, without those that have no meaning here."""
    study, trials = inputs.study, inputs.trials
    sample = Sample(
        study, trials, inputs.log_params, inputs.importances, inputs.baselines, inputs.now
    )
    time_spent = spending.info(inputs.attempts, inputs.now)
    plots = [
        *_confirmation(inputs),
        *_fronts(study, trials),
        *_registered("progress", sample),
        _plot("spending", "Spending", captions.of_spending(time_spent), time_spent, spending),
        *_registered("importance", sample),
        *_planes(inputs),
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


def _confirmation(inputs: ReportInputs) -> list[Plot]:
    info = confirmation.info(inputs.confirmation, inputs.study)
    if info.nothing:
        return []
    caption = captions.of_confirmation(info)
    plot = _plot("confirmation", "Confirmation", caption, info, confirmation)
    return [replace(plot, table_open=True)]


def _fronts(study: Study, trials: Sequence[Trial]) -> list[Plot]:
    """Return the Pareto front in the plane of the first objective and each other one.

    The hypervolume over time follows.
    """
    fronts = []
    for other in range(1, len(study.directions)):
        info = pareto.info(trials, study, 0, other)
        title = f"Pareto front: {info.metrics[0]} and {info.metrics[1]}"
        fronts.append(_plot(f"pareto-{other}", title, captions.of_pareto(info), info, pareto))
    if fronts:
        volumes = hypervolume.info(trials, study)
        caption = captions.of_hypervolume(volumes)
        fronts.append(_plot("pareto-hypervolume", "Hypervolume", caption, volumes, hypervolume))
    return fronts


def _planes(inputs: ReportInputs) -> list[Plot]:
    """Return a contour for each pair of the most important parameters."""
    complete = [t for t in inputs.trials if t.state is TrialState.COMPLETE]
    candidates = axes.axes(complete, inputs.study, inputs.log_params, inputs.importances)
    names = [axis.name for axis in candidates if len(axis.categories) != 1][:INTERACTING]
    planes: list[Plot] = []
    for x, y in combinations(names, 2):
        info = contour.info(
            complete,
            inputs.study,
            log_params=inputs.log_params,
            x=x,
            y=y,
            limit=contour.MAX_POINTS,
        )
        if len(info.trials) >= importance.MIN_TRIALS:
            title = f"{text.short(x, 24)} and {text.short(y, 24)}"
            planes.append(_plot(f"pair-{len(planes) + 1}", title, "", info, contour))
    return planes


def of_experiment(studies: Sequence[tuple[StudyResult, ReportInputs]]) -> dict[str, Plot]:
    """Return the figures that compare an experiment's families."""
    families = [
        rivals.Rival(inputs.study.family or "", inputs.study, inputs.trials)
        for _, inputs in studies
    ]
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
