import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import plotly.graph_objects as go
import pytest

from tests.support import synthetic
from tuner.figures import slices, theme
from tuner.trials import ParamValue, Trial, TrialState

STUDY = synthetic.study()


def draw(trials: Sequence[Trial]) -> go.Figure:
    return slices.draw(slices.info(trials, STUDY, log_params=synthetic.LOG))


def _info(how_many: int = 40) -> slices.Info:
    return slices.info(
        synthetic.trials(how_many),
        STUDY,
        log_params=synthetic.LOG,
        importances=synthetic.IMPORTANCES,
    )


def test_one_panel_a_parameter_in_order_of_importance() -> None:
    figure = slices.draw(_info())
    titles = [figure.layout[f"xaxis{i or ''}"].title.text for i in (0, 2, 3, 4, 5, 6, 7)]
    assert [t.removesuffix(" (log)") for t in titles] == list(synthetic.IMPORTANCES)


def test_log_axes_where_the_search_is_logarithmic() -> None:
    figure = slices.draw(_info())
    log = {axis.title.text for axis in figure.select_xaxes() if axis.type == "log"}
    assert log == {"learning_rate (log)", "weight_decay (log)"}


def test_categories_are_sorted_strips() -> None:
    info = _info()
    panel = next(p for p in info.panels if p.axis.name == "batch_size")
    assert panel.axis.categories == (32, 64, 128, 256)
    for point in panel.points:
        position = panel.axis.position(point.trial.params["batch_size"])
        assert position is not None
        assert abs(point.x - position) <= slices.SPREAD / 2
    assert len({p.x for p in panel.points}) == len(panel.points)  # none hides another
    assert _info() == info


def test_trials_without_a_parameter_are_left_out_of_its_panel() -> None:
    info = _info(200)
    momentum = next(p for p in info.panels if p.axis.name == "momentum")
    assert 0 < len(momentum.points) < info.total
    assert all(p.trial.params["optimizer"] == "sgd" for p in momentum.points)


def test_the_best_is_a_star_in_each_panel_that_has_it() -> None:
    info = _info()
    assert info.best is not None
    stars = [t for t in slices.draw(info).data if t.name == "best"]
    assert len(stars) == sum(p.axis.name in info.best.params for p in info.panels)
    assert {t.marker.color for t in stars} == {theme.LIGHT.best}


@pytest.mark.parametrize("state", [TrialState.FAILED, TrialState.PRUNED])
def test_without_complete_trials(state: TrialState) -> None:
    trials = [replace(t, state=state) for t in synthetic.trials(5)]
    for sample in (trials, []):
        info = slices.info(sample, STUDY)
        assert info.nothing
        assert not slices.table(info).rows
        assert len(slices.draw(slices.info(sample, STUDY)).layout.annotations) == 1


def test_values_that_cannot_be_placed() -> None:
    values: list[ParamValue] = [1.0, math.nan, math.inf, None, 10**400]
    trials = [
        replace(t, state=TrialState.COMPLETE, values=(0.5,), params={"a": v})
        for t, v in zip(synthetic.trials(5), values, strict=True)
    ]
    for chosen in (trials, trials[:3], trials[:1]):
        info = slices.info(chosen, STUDY, log_params={"a"})
        slices.draw(info)
        slices.table(info)


@pytest.mark.parametrize("panels", [1, 2, 3, 7, 18])
@pytest.mark.parametrize("columns", [1, 2, 3])
def test_the_grid_fits_and_does_not_overlap(panels: int, columns: int) -> None:
    changes = slices.grid(panels, columns, "accuracy")
    boxes = []
    for i in range(panels):
        suffix = "" if i == 0 else str(i + 1)
        x, y = changes[f"xaxis{suffix}.domain"], changes[f"yaxis{suffix}.domain"]
        assert 0 <= x[0] < x[1] <= 1
        assert 0 <= y[0] < y[1] <= 1
        boxes.append((x, y))
    for i, (x, y) in enumerate(boxes):
        for other_x, other_y in boxes[:i]:
            apart_x = x[0] >= other_x[1] or other_x[0] >= x[1]
            apart_y = y[0] >= other_y[1] or other_y[0] >= y[1]
            assert apart_x or apart_y


def test_the_figure_carries_its_other_grids() -> None:
    figure = slices.draw(_info())
    assert set(figure.layout.meta["grids"]) == {"1", "2", "3"}
    assert figure.layout.height == figure.layout.meta["grids"]["3"]["height"]


def test_hostile_names_are_text() -> None:
    trials = [
        replace(t, params={"<b>%{x}</b>": "<i>" if t.number % 2 else "b"})
        for t in synthetic.trials(20)
    ]
    figure = slices.draw(slices.info(trials, STUDY))
    name = "&lt;b&gt;&#37;{x}&lt;/b&gt;"
    assert figure.layout.xaxis.title.text == name
    assert list(figure.layout.xaxis.ticktext) == ["&lt;i&gt;", "b"]
    assert f"{name}: %{{customdata[1]}}" in figure.data[0].hovertemplate


@pytest.mark.slow
def test_5000_trials_are_quick_and_thin() -> None:
    trials = synthetic.trials(5_000, prune=False, fail=False)
    figure = slices.draw(slices.info(trials, STUDY, log_params=synthetic.LOG))
    few, all_ = (synthetic.calls(partial(draw, some)) for some in (trials[:500], trials))
    assert all_ < 15 * few
    assert sum(len(t.x) for t in figure.data) <= 8_000 + 2 * slices.MAX_PANELS


def test_the_table_tells_where_the_better_half_lies() -> None:
    rows = {row[0]: row for row in slices.table(_info(400)).rows}
    assert rows["optimizer"][2].startswith("adamw (")
    assert "…" in rows["learning_rate"][1]
    assert rows["momentum"][3] == "not set"
