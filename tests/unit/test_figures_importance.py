import math

from tests.support import synthetic
from tuner.figures import importance


def test_bars_are_sorted_with_the_largest_on_top() -> None:
    shuffled = dict(sorted(synthetic.IMPORTANCES.items()))
    figure = importance.draw(importance.info(shuffled))
    bar = figure.data[0]
    assert list(bar.x) == sorted(synthetic.IMPORTANCES.values(), reverse=True)
    assert list(bar.customdata) == list(synthetic.IMPORTANCES)
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]


def test_shares_are_percent() -> None:
    assert [importance.percent(s) for s in (0, 0.004, 0.0149, 0.534, 1)] == [
        "0 %",
        "< 1 %",
        "1 %",
        "53 %",
        "100 %",
    ]


def test_odd_shares_count_as_none() -> None:
    info = importance.info({"a": math.nan, "b": -1.0, "c": 0.5})
    assert info.bars == [("c", 0.5), ("a", 0.0), ("b", 0.0)]
    importance.draw(info)


def test_nothing_says_why() -> None:
    assert importance.info({}).nothing
    assert importance.info(None).nothing
    assert len(importance.draw(importance.info(None)).layout.annotations) == 1


def test_many_parameters_are_cut_and_counted() -> None:
    info = importance.info({f"p{i}": 0.01 for i in range(100)})
    assert len(info.bars) == importance.MAX_BARS
    assert info.left_out == 85
    assert "85 more parameters with 85 % in total" in importance.table(info).note


def test_one_parameter() -> None:
    assert len(importance.draw(importance.info({"a": 1.0})).data[0].x) == 1


def test_hostile_names_are_text() -> None:
    figure = importance.draw(importance.info({"<b>%{x}</b>": 1.0}))
    assert figure.layout.yaxis.ticktext[0].strip() == "&lt;b&gt;&#37;{x}&lt;/b&gt;"
    assert figure.data[0].customdata[0] == "&lt;b&gt;&#37;{x}&lt;/b&gt;"


def test_the_threshold_is_the_one_of_the_search() -> None:
    from tuner.search import importances

    assert importance.MIN_TRIALS == importances.MIN_TRIALS
