"""Both ends of the conversations with processes that import torch read what the other wrote."""

import math
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from tuner.families.bundle.requests import Evaluate, Evaluated, Profile, Retrain, Retrained, Sample
from tuner.study_file.code import Code
from tuner.study_file.data import DataSpec
from tuner.training.cohort import Cohort, Task

UNDECODABLE = Path(os.fsdecode(b"/tmp/\xff"))  # a name that is no UTF-8
EVALUATE = Evaluate(
    family="rnn",
    params={"hidden": 16, "dropout": 0.1, "scale": 1.0, "cell": "lstm", "flag": True, "none": None},
    data=DataSpec(source="text", path=Path("/data.csv")),
    fingerprint="abc",
    cache=Path("/cache"),
    metric="accuracy",
    weights=UNDECODABLE,
    parts=["validation", "test"],
    sample=Sample(rows=200, path=Path("/inputs.csv")),
)


def test_a_request_is_read_as_it_was_written() -> None:
    request = Evaluate.loads(EVALUATE.dumps())
    assert request == EVALUATE
    kinds = {name: type(value) for name, value in request.params.items()}
    assert kinds == {name: type(value) for name, value in EVALUATE.params.items()}


def test_figures_arrive_to_the_last_digit_and_may_be_no_numbers() -> None:
    figures = {"accuracy": 0.1 + 0.2, "r2": -math.inf, "auc": math.nan}
    answer = Evaluated(measured={"test": figures}, intervals={"test": (1 / 3, 0.5)}, scale=None)
    received = Evaluated.loads(answer.dumps())
    assert received.measured["test"]["accuracy"] == 0.1 + 0.2
    assert received.measured["test"]["r2"] == -math.inf
    assert math.isnan(received.measured["test"]["auc"])
    assert received.intervals == {"test": (1 / 3, 0.5)}


def test_a_cohort_of_user_code_arrives_whole() -> None:
    task = Task(0, 2, {"x": 1e-5}, 7, UNDECODABLE, (Path("/a"),))
    code = Code(folder=Path("/code"), command=["python", "train.py", "{x}"])
    cohort = Cohort(
        *("s", "command", None, "", "loss", "minimize", 3, None, "auto", "cpu", 1),
        cache=Path("/cache"),
        tasks=(task,),
        code=code,
    )
    assert Retrain.loads(Retrain(cohort=cohort).dumps()).cohort == cohort
    assert Retrained.loads('{"problem": "it has ended"}') == Retrained(problem="it has ended")


@pytest.mark.parametrize(
    "text", ['{"value": 1, "valeu": 2}', '{"value": "much"}', "[]", '{"way": "full"}']
)
def test_anything_else_is_an_error(text: str) -> None:
    with pytest.raises(ValidationError):
        Retrained.loads(text)


def test_costs_are_cached_by_what_they_depend_on() -> None:
    profile = Profile(
        family="pretrained",
        data=DataSpec(source="digits"),
        params={"checkpoint": "/model"},
        ways=["frozen"],
        device="cpu",
        threads=1,
        limit=100.0,
        cache=Path("/cache"),
    )
    # these keys, sorted, have named the files in the cache since the first version
    assert profile.model_dump(mode="json", exclude={"cache"}) == {
        "family": "pretrained",
        "data": DataSpec(source="digits").model_dump(mode="json"),
        "params": {"checkpoint": "/model"},
        "ways": ["frozen"],
        "device": "cpu",
        "threads": 1,
        "limit": 100.0,
    }
