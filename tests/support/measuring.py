"""Exports measured and bundles verified in this process, which has imported torch anyway."""

import contextlib
import importlib
import io
import runpy
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tuner.errors import TunerError
from tuner.families.bundle import requests


def measuring_here(
    run: Callable[..., subprocess.CompletedProcess[str]],
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`subprocess.run` that trains and measures in this process, which has imported torch."""
    answers = {  # by the module of `processes.command`
        "tuner.families.bundle.evaluate": _evaluate,
        "tuner.families.bundle.retrain": _retrain,
    }

    def stand_in(arguments: list[str], **rest: Any) -> subprocess.CompletedProcess[str]:
        if len(arguments) > 1 and str(arguments[-2]).endswith("predict.py"):
            return subprocess.CompletedProcess(arguments, 0, _printed(arguments[-2:]), "")
        answer = answers.get(arguments[-1])
        if answer is None:
            return run(arguments, **rest)
        try:
            return subprocess.CompletedProcess(arguments, 0, answer(rest["input"]), "")
        except TunerError as error:
            return subprocess.CompletedProcess(arguments, error.exit_code, "", f"{error}\n")

    return stand_in


def _evaluate(request: str) -> str:
    evaluate = importlib.import_module("tuner.families.bundle.evaluate").evaluate
    answer: str = evaluate(requests.Evaluate.loads(request)).dumps()
    return answer


def _retrain(request: str) -> str:
    retrain = importlib.import_module("tuner.families.bundle.retrain").retrain
    answer: str = retrain(requests.Retrain.loads(request).cohort).dumps()
    return answer


def _printed(arguments: list[str]) -> str:
    """What the program prints, run in this process."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(sys, "argv", arguments)
        runpy.run_path(arguments[0], run_name="__main__")
    return out.getvalue()
