"""Values of Python programs, NumPy's among them, as values of study files."""

import datetime
import enum
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from tuner import testing
from tuner.errors import SpecError
from tuner.study_file.plain import plain
from tuner.user_code.reported import checked_step, number


class Optimizer(enum.Enum):
    SGD = "sgd"


class Size(enum.IntEnum):
    SMALL = 3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.int64(5), 5),
        (np.uint8(200), 200),
        (np.float64(0.1), 0.1),
        (np.float32(0.1), 0.1),  # as it is printed, not 0.10000000149011612
        (np.float16(0.25), 0.25),
        (np.True_, True),
        (np.bool_(False), False),
        (np.str_("adam"), "adam"),
        (np.array(7), 7),
        (np.array([True, False]), [True, False]),
        (np.arange(2, 5), [2, 3, 4]),
        (np.array([0.1, 0.5], np.float32), [0.1, 0.5]),
        (np.array(["sgd", "adam"]), ["sgd", "adam"]),
        (range(2, 5), [2, 3, 4]),
        ((1, (2.5, None)), [1, [2.5, None]]),
        (Path("data") / "x.csv", "data/x.csv"),
        (Optimizer.SGD, "sgd"),
        (Size.SMALL, 3),
        ({"low": np.int64(1), Optimizer.SGD: [np.int8(2)]}, {"low": 1, "sgd": [2]}),
    ],
)
def test_values_become_plain_ones(given: Any, expected: Any) -> None:
    value = plain({"x": given})["x"]
    assert repr(value) == repr(expected)  # of the same type: 1 is no 1.0 and no True


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (np.zeros((2, 2)), "must be a single value or a list, is an array of shape (2, 2)"),
        (np.complex64(1j), "must be text, a number, true or false, a list or a section; is a"),
        (np.datetime64("2026-01-01"), "is a datetime.date"),
        ({1, 2}, "is a set"),
        (b"adam", "is a bytes"),
        (Decimal("0.1"), "is a decimal.Decimal"),
        (datetime.date(2026, 1, 1), "is a datetime.date"),
        (float("nan"), "must be a finite number, is nan"),
        (np.float32("inf"), "must be a finite number, is inf"),
        (2**70, "is too large a number"),
        (-(2**64), "is too large a number"),
        ("a\0", "holds a control character, U+0000"),
        ("\ud800", "holds a control character, U+D800"),
        ({"a\0": 1}, "the key `a\\x00` holds a control character, U+0000"),
        (range(10**9), "has 1,000,000,000 entries; 20,000 are allowed"),
    ],
)
def test_anything_else_is_refused_by_its_field(given: Any, sentence: str) -> None:
    with pytest.raises(SpecError) as error:
        plain({"search": {"n": [1, given]}})
    assert str(error.value).startswith("search.n[1]: ")
    assert sentence in str(error.value)


def test_every_problem_has_a_line() -> None:
    with pytest.raises(SpecError) as error:
        plain({"search": {"n": {1}, "m": {2: 3}}, "seed": b""})
    lines = str(error.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["search.n", "search.m", "seed"]
    assert "the key `2` must be text, is an int" in lines[1]


def test_a_section_that_holds_itself_is_refused() -> None:
    circle: dict[str, Any] = {}
    circle["a"] = circle
    with pytest.raises(SpecError, match="levels deep"):
        plain(circle)


def test_a_fake_trial_has_the_values_of_a_real_one() -> None:
    trial = testing.trial(x=np.float32(0.1), n=np.int64(3))
    assert repr(dict(trial.params)) == "{'x': 0.1, 'n': 3}"


def test_reports_take_numpys_numbers_and_no_truth_values() -> None:
    assert number(np.float32(0.5), "the value") == 0.5
    assert number(np.int64(2), "the value") == 2.0
    assert checked_step(np.int64(4)) == 4
    for wrong in (np.True_, np.complex64(1 + 2j)):
        with pytest.raises(TypeError, match="the value must be a number"):
            number(wrong, "the value")


# Classes of samplers and pruners


class Own(optuna.samplers.RandomSampler):
    pass


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"sampler": optuna.samplers.CmaEsSampler}, "optuna.samplers:CmaEsSampler"),
        ({"pruner": {"class": optuna.pruners.NopPruner}}, {"class": "optuna.pruners:NopPruner"}),
        ({"sampler": Own}, f"{__name__}:Own"),
        ({"sampler": "gp"}, "gp"),
    ],
)
def test_a_class_stands_for_its_path(section: dict[str, Any], expected: Any) -> None:
    assert list(plain(section).values()) == [expected]


def test_an_object_or_a_local_class_is_refused_with_the_way_out() -> None:
    class Local(Own):
        pass

    with pytest.raises(SpecError) as raised:
        plain({"sampler": optuna.samplers.RandomSampler(seed=1), "pruner": Local})

    first, second = str(raised.value).splitlines()
    assert first == (
        "sampler: must be a name, a class or a section, is an "
        "optuna.samplers._random.RandomSampler; to name its class, write "
        '`{"sampler": {"class": RandomSampler, "options": {…}}}`'
    )
    assert "Local must be defined at the top of a module, which workers can import" in second
