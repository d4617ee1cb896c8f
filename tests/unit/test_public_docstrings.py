"""The docstrings of the public Python interface: complete, and with examples that run."""

import builtins
import inspect
from typing import Any

import optuna
import pytest

import tuner
from tests.support import docstrings
from tuner import errors
from tuner.user_code import client, trial

ERRORS = (errors, builtins, optuna.exceptions, trial, client)  # modules of what may be raised
MEMBERS = [pair for item in docstrings.PUBLIC for pair in docstrings.members(item)]


def test_everything_public_is_covered() -> None:
    public = {id(item) for item in docstrings.PUBLIC}
    assert [name for name in tuner.__all__ if id(getattr(tuner, name)) not in public] == []


@pytest.mark.parametrize(("name", "item"), MEMBERS, ids=[name for name, _ in MEMBERS])
def test_a_docstring_says_what_is_needed(name: str, item: Any) -> None:
    sections = docstrings.sections(item)
    summary, *body = sections["summary"].splitlines()
    assert summary.endswith(".") and len(summary) <= 100
    assert not body or not body[0]
    for error in docstrings.entries(sections.get("Raises", "")):
        assert any(hasattr(module, error) for module in ERRORS), error
    if inspect.isclass(item):
        return
    is_property = isinstance(item, property)
    function = inspect.unwrap(item.fget if is_property else item)
    assert docstrings.raised(function) <= set(docstrings.entries(sections.get("Raises", "")))
    if is_property or "like `optuna." in summary:  # the latter take what Optuna's take
        return
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters if p != "self"]
    assert docstrings.entries(sections.get("Args", "")) == parameters
    returns_something = signature.return_annotation not in (None, "None")
    if returns_something and (parameters or not name.count(".")):
        assert sections.keys() & {"Returns", "Yields"}


@pytest.mark.parametrize("item", docstrings.PUBLIC, ids=lambda item: item.__qualname__)
def test_everything_public_has_an_example(item: Any) -> None:
    text = "\n".join(
        docstrings.sections(member).get("Example", "") for _, member in docstrings.members(item)
    )
    assert ">>>" in text
    for name, _ in list(docstrings.members(item))[1:]:
        assert f".{name.rpartition('.')[2]}" in text, name


@pytest.mark.parametrize("item", docstrings.WITHOUT_DATABASE, ids=lambda item: item.__qualname__)
def test_examples_without_a_database_run(item: Any) -> None:
    docstrings.run_examples(item)
