"""Rows for other programs."""

import csv
import io
import json
import math
from pathlib import Path

from pyarrow import parquet

from tests.support import synthetic
from tuner import trial_tables
from tuner.origin import Origin
from tuner.trials import Report, Trial, TrialState

STUDY = synthetic.study()
TRIALS = [
    Trial(
        0,
        TrialState.COMPLETE,
        {"lr": 0.1, "=cmd": "=1+1", "mixed": 1, "flag": True},
        values=(0.5,),
        reports=(
            Report(1, 0.4, {"accuracy": 0.4, "loss": 2.0}),
            Report(2, 0.5, {"loss": math.nan}),
        ),
    ),
    Trial(1, TrialState.FAILED, {"lr": 1, "mixed": "a"}, message="line\nbreak"),
]


def test_csv_is_safe_for_spreadsheets() -> None:
    rows = trial_tables.of_trials(STUDY, TRIALS)
    text = trial_tables.csv_text(rows, trial_tables.columns_of(rows))
    first, second = csv.DictReader(io.StringIO(text))
    assert first["param.=cmd"] == "'=1+1"
    assert first["epochs"] == "2"
    assert second["message"] == "line\\nbreak"
    assert second["accuracy"] == ""


def test_how_trials_were_proposed_has_columns_where_it_is_known() -> None:
    origins = (Origin(kind="random", sampler="gp"), Origin(kind="model", gain=0.25), None)
    trials = [
        Trial(number, TrialState.WAITING, {"lr": 1}, origin=origin)
        for number, origin in enumerate(origins)
    ]
    rows = trial_tables.of_trials(STUDY, trials)
    assert [{k: v for k, v in row.items() if k.startswith("proposed")} for row in rows] == [
        {"proposed": "random", "proposed.sampler": "gp", "proposed.gain": None},
        {"proposed": "model", "proposed.sampler": None, "proposed.gain": 0.25},
        {"proposed": None, "proposed.sampler": None, "proposed.gain": None},
    ]
    assert "proposed" not in trial_tables.columns_of(trial_tables.of_trials(STUDY, TRIALS))


def test_json_lines_are_json() -> None:
    lines = trial_tables.json_lines(trial_tables.of_reports(STUDY, TRIALS)).splitlines()
    assert json.loads(lines[0]) == {"trial": 0, "step": 1, "accuracy": 0.4, "loss": 2.0}
    assert json.loads(lines[1])["loss"] is None


def test_parquet_keeps_kinds(tmp_path: Path) -> None:
    rows = trial_tables.of_trials(STUDY, TRIALS)
    path = tmp_path / "x.parquet"
    trial_tables.write_parquet(rows, trial_tables.columns_of(rows), path)
    read_back = parquet.read_table(path).to_pylist()
    assert read_back[0]["param.lr"] == 0.1
    assert read_back[1]["param.lr"] == 1.0
    assert [row["param.mixed"] for row in read_back] == ["1", "a"]
    assert [row["param.flag"] for row in read_back] == [True, None]
    assert read_back[0]["accuracy"] == 0.5
    trial_tables.write_parquet([], ["number"], path)
    assert parquet.read_table(path).num_rows == 0
