"""Filters, packed figures and CSV: what stands between the columns and a page."""

import base64
import contextlib
import csv
import io
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plotly.offline import get_plotlyjs_version

from tests.support import synthetic
from tuner.dashboard.plots import encoding, selection, trial_table
from tuner.dashboard.plots.selection import Where
from tuner.dashboard.rendering import assets
from tuner.database.readers.live import LiveTrials
from tuner.errors import BadInputError
from tuner.figures import theme
from tuner.trials import Trial, TrialState


@pytest.mark.parametrize(
    "text",
    ["", "[]", "1", '["value"]', '["value", {}]', '["value", [1]]', '["value", ["a", 2]]', "[[1]]"],
)
def test_a_bad_condition_is_told(text: str) -> None:
    with pytest.raises(BadInputError, match="where"):
        Where.parse(text)


def test_conditions() -> None:
    assert Where.parse('["value", [0.5, null]]') == Where("value", ((0.5, math.inf),))
    assert Where.parse('["params.a", "x", true]') == Where("params.a", categories=("x", True))


@given(st.text(max_size=40))
def test_no_condition_ends_in_anything_but_a_sentence(text: str) -> None:
    with contextlib.suppress(BadInputError):
        Where.parse(text)


def decoded(packed: dict[str, str]) -> list[float]:
    kind = np.dtype(packed["dtype"]).newbyteorder("<")
    numbers: list[float] = np.frombuffer(base64.b64decode(packed["bdata"]), kind).tolist()
    return numbers


@pytest.mark.parametrize(
    ("numbers", "dtype"),
    [
        (list(range(100)), "u1"),
        (list(range(-5, 1_000)), "i2"),
        (list(range(100_000)), "i4"),
        ([2**40 + i for i in range(50)], "f8"),
        ([i / 7 for i in range(50)], "f4"),
        ([1e6 + i * 1e-3 for i in range(50)], "f8"),  # 32 bits would put them all in one place
    ],
)
def test_numbers_are_packed_as_small_as_they_can_be(numbers: list[float], dtype: str) -> None:
    packed = json.loads(encoding.encode({"x": numbers}))["x"]
    assert packed["dtype"] == dtype
    assert decoded(packed) == pytest.approx(numbers)


def test_gaps_stay_gaps() -> None:
    packed = json.loads(encoding.encode([1.5, None, math.nan] * 20))
    assert decoded(packed)[0] == 1.5
    assert math.isnan(decoded(packed)[1])
    assert json.loads(encoding.encode([1.5, None, math.inf])) == [1.5, None, None]
    assert json.loads(encoding.encode(["a", None] * 20)) == ["a", None] * 20
    assert json.loads(encoding.encode([10**400] * 40)) == [10**400] * 40


def test_a_grid_is_packed_as_a_whole() -> None:
    packed = json.loads(encoding.encode({"z": [[1.5, math.nan, 2.5]] * 40}))["z"]
    assert packed["shape"] == "40,3"
    assert len(decoded(packed)) == 120
    rows = [[i, "a", 0.5] for i in range(40)]
    assert json.loads(encoding.encode(rows)) == rows


def parse_csv(*trials: Trial) -> list[list[str]]:
    names = list(dict.fromkeys(n for t in trials for n in t.params))
    return list(csv.reader(io.StringIO(trial_table.csv_rows(synthetic.study(), trials, names))))


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@x", "\t=1", " =1", "＝1", "a,b", 'a"b', "\n"]
)
def test_no_cell_is_a_formula(text: str) -> None:
    trial = Trial(0, TrialState.COMPLETE, {"p": text, "n": -1.5}, values=(0.5,), worker=text)
    ((*cells,),) = parse_csv(trial)
    assert cells[3] in (text, f"'{text}")
    assert not cells[3].lstrip(" ").startswith(trial_table._FORMULA)
    assert not cells[-2].lstrip(" ").startswith(trial_table._FORMULA)
    assert cells[4] == "-1.5"  # a number stays one


def test_odd_text_can_be_written() -> None:
    trial = Trial(0, TrialState.FAILED, {"p": "\ud800\x00"})
    assert parse_csv(trial)


def test_the_bundle_is_of_the_version_that_makes_the_figures() -> None:
    path = "vendor/plotly.min.js"
    bundle = assets.assets()[path]
    assert f'"{get_plotlyjs_version()}"'.encode() in bundle.content
    assert bundle.compressed is not None
    assert len(bundle.compressed) < 500_000
    assert b"new Function(" not in bundle.content  # the policy forbids it
    assert theme.CONFIG["showSendToCloud"] is False


def test_an_empty_study_has_no_rows() -> None:
    live = LiveTrials(1, ["maximize"])
    chosen = selection.apply(live, selection.Filter(top=5))
    assert trial_table.sort(live, chosen, "value", descending=True).tolist() == []
    assert selection.thin_out(live, chosen, 10) == []
