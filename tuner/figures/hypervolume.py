"""The hypervolume of several objectives after each complete trial."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from tuner.figures import text, theme, thin
from tuner.trial_tables import metric_names
from tuner.trials import Study, Trial
from tuner.winner import hypervolume
from tuner.winner.hypervolume import CompleteTrials


@dataclass(frozen=True, slots=True)
class Info:
    """The hypervolume by the number of complete trials."""

    steps: list[tuple[int, int, float]]  # complete trials, number of the latest, hypervolume
    reference: list[tuple[str, float]]  # objective, its value
    objectives: int
    total: int  # complete trials

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None if there is something."""
        if self.objectives < 2:
            return "The study has one objective: its history shows the best so far."
        if not self.total:
            return "No trial is complete yet."
        if not self.reference:
            be = "is" if self.total == 1 else "are"
            return (
                f"The reference point follows from the first {hypervolume.FIRST} complete trials; "
                f"so far there {be} {self.total}."
            )
        return None


def info(trials: Sequence[Trial], study: Study) -> Info:
    """Take the hypervolume after each complete trial."""
    return info_of(CompleteTrials.of(trials, study), study)


def info_of(
    trials: CompleteTrials,
    study: Study,
    mask: NDArray[np.bool_] | None = None,
    limit: int = thin.MAX_POINTS,
) -> Info:
    """Take it after each of the trials in `mask`, or after each; `limit` points at most.

    The reference point follows from all trials.
    """
    reference = hypervolume.reference_point(trials, study)
    total = len(trials.numbers)
    if reference is None:
        return Info([], [], len(study.directions), total)
    chosen = trials if mask is None else trials.select(mask)
    volumes = hypervolume.over_time(chosen, study, reference)
    steps = [
        (i + 1, int(chosen.numbers[i]), float(volumes[i]))
        for i in thin.indices(len(volumes), limit)
    ]
    point = list(zip(metric_names(study), reference, strict=True))
    return Info(steps, point, len(study.directions), total)


def draw(info: Info) -> go.Figure:
    """Return the drawing."""
    if info.nothing:
        return theme.empty(info.nothing)
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": "hypervolume",
        "x": [count for count, _, _ in info.steps],
        "y": [volume for _, _, volume in info.steps],
        "customdata": [number for _, number, _ in info.steps],
        "line": {"color": theme.LIGHT.best, "width": 2.5, "shape": "hv"},
        "hovertemplate": "after trial %{customdata}<br><b>%{y:.4~g}</b><extra></extra>",
        "showlegend": False,
    }
    return theme.figure(
        [line],
        {
            "height": 300,
            "xaxis": {"title": {"text": "complete trials"}},
            "yaxis": {"title": {"text": "hypervolume"}, "rangemode": "tozero"},
        },
    )


def table(info: Info) -> text.Table:
    """Return the line at tenths of its steps."""
    return text.Table(
        columns=("complete trials", "hypervolume"),
        rows=tuple(
            (f"{count:,}", text.number(volume)) for count, _, volume in thin.evenly(info.steps, 11)
        ),
        note=describe_reference(info),
    )


def describe_reference(info: Info) -> str:
    """Say where the reference point is."""
    values = ", ".join(f"{text.clean(name)} {text.number(value)}" for name, value in info.reference)
    return f"Reference point: {values}."
