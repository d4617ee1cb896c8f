"""Which ranges of user code are whole numbers, and how a space says so."""

import pytest

from tuner.families import resolve
from tuner.study_file.load import from_mapping, loads
from tuner.study_file.parameters import FloatParameter, IntParameter, describe

OWN = (
    "name: x\nfamily: command\ncommand: [train]\nobjective: {metric: score, direction: maximize}\n"
)
CNN = "name: x\nfamily: cnn\ndata: digits\n"


@pytest.mark.parametrize(
    ("ends", "description"),
    [
        ("low: 16, high: 256, log: true", "16 … 256 (int, log)"),
        ("low: 16, high: 256", "16 … 256 (int)"),
        ("low: 1e2, high: 1e3, log: true", "100 … 1000 (int, log)"),
        ("low: 1e2, high: 1e+6", "100 … 1000000 (int)"),
        ("low: 0, high: 1e3, step: 50", "0 … 1000 (int, steps of 50)"),
        ("low: 16.0, high: 256.0, log: true", "16 … 256 (float, log)"),
        ("low: 16, high: 256.0", "16 … 256 (float)"),
        ("low: 1.0e2, high: 1e3", "100 … 1000 (float)"),
        ("low: 1e-4, high: 1, log: true", "0.0001 … 1 (float, log)"),
        ("low: 0, high: 1, step: 0.25", "0 … 1 (float, steps of 0.25)"),
        ("low: 1, high: 1e20", "1 … 1e+20 (float)"),  # no whole number that floats hold exactly
        ("type: float, low: 16, high: 256, log: true", "16 … 256 (float, log)"),
        ("type: int, low: 16.0, high: 1.0e3", "16 … 1000 (int)"),
    ],
)
def test_whole_ends_make_whole_numbers_of_user_code(ends: str, description: str) -> None:
    space = resolve(loads(f"{OWN}search:\n  n: {{{ends}}}\n")).space
    assert space.describe() == {"n": description}


def test_python_and_json_tell_16_from_16_point_0() -> None:
    for low, kind in ((16, IntParameter), (16.0, FloatParameter)):
        data = {
            "name": "x",
            "family": "command",
            "command": ["train"],
            "objective": {"metric": "score", "direction": "maximize"},
            "search": {"n": {"low": low, "high": 256, "log": True}},
        }
        assert isinstance(resolve(from_mapping(data)).space.parameters["n"], kind)


@pytest.mark.parametrize(
    ("parameter", "description"),
    [
        ("learning_rate: {low: 1, high: 10, log: true}", "1 … 10 (float, log)"),
        ("learning_rate: {low: 1e0, high: 1e1}", "1 … 10 (float, log)"),
        ("clip_norm: {low: 1, high: 5}", "1 … 5 (float)"),
        ("dense: {low: 64, high: 1e3}", "64 … 1000 (int, log)"),
    ],
)
def test_of_a_familys_parameter_the_card_decides(parameter: str, description: str) -> None:
    space = resolve(loads(f"{CNN}search:\n  {parameter}\n")).space
    assert space.describe()[parameter.partition(":")[0]] == description


def test_large_ends_are_shown_whole() -> None:
    assert describe(IntParameter(low=1, high=12_345_678)) == "1 … 12345678 (int)"
