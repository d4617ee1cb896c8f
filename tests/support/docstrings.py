"""The public Python interface, its docstrings' sections, and their examples, which tests run."""

import ast
import doctest
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

import tuner
from tuner import api, testing
from tuner.search import notebook
from tuner.user_code.checkpoint import Checkpoint

WITHOUT_DATABASE = [tuner.Trial, tuner.current_trial, Checkpoint, testing.FakeTrial, testing.trial]
OF_STUDIES = [tuner.run, tuner.launch, tuner.study, api.Study, api.Best, api.Plots]
OF_OPTUNA = [tuner.storage, tuner.create_study, tuner.load_study, notebook.BudgetedStudy]
OF_EXPERIMENTS = [tuner.experiment, api.Experiment]
PUBLIC = [*WITHOUT_DATABASE, *OF_STUDIES, *OF_OPTUNA, *OF_EXPERIMENTS]

SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Example")


def members(item: Any) -> Iterator[tuple[str, Any]]:
    """The item itself and, of a class, its public methods and properties, by dotted name."""
    yield item.__qualname__, item
    if inspect.isclass(item):
        for name, member in vars(item).items():
            function = member.fget if isinstance(member, property) else member
            if not name.startswith("_") and inspect.isfunction(function):
                yield f"{item.__qualname__}.{name}", member


def sections(item: Any) -> dict[str, str]:
    """Heading → text of each section of a docstring; what stands before them is `summary`."""
    texts: dict[str, list[str]] = {"summary": []}
    heading = "summary"
    for line in (inspect.getdoc(item) or "").splitlines():
        if line.removesuffix(":") in SECTIONS:
            heading = line.removesuffix(":")
            texts[heading] = []
        else:
            texts[heading].append(line)
    return {name: textwrap.dedent("\n".join(lines)) for name, lines in texts.items()}


def entries(text: str) -> list[str]:
    """The names that a section of `name: description` lists."""
    lines = (line for line in text.splitlines() if line and not line.startswith(" "))
    return [line.partition(":")[0].lstrip("*") for line in lines]


def raised(function: Any) -> set[str]:
    """The names of the errors that a function's own statements raise."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    errors = (node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise))
    called = (error.func if isinstance(error, ast.Call) else error for error in errors)
    return {error.id for error in called if isinstance(error, ast.Name)}


def run_examples(item: Any) -> None:
    """Run the examples of an item and its members for real; AssertionError if one differs."""
    attempted = 0
    for name, member in members(item):
        test = doctest.DocTestParser().get_doctest(
            inspect.getdoc(member) or "", {}, name, inspect.getsourcefile(item), 0
        )
        report: list[str] = []
        outcome = doctest.DocTestRunner(verbose=False).run(test, out=report.append)
        assert outcome.failed == 0, "".join(report)
        attempted += outcome.attempted
    assert attempted > 0, f"{item.__qualname__} has no example"
