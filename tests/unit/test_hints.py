"""Every command that a message names is one that there is, with options that it has."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tuner.cli.app import app
from tuner.cli.output import options_of

PACKAGE = Path(__file__).parents[2] / "tuner"
QUOTED = re.compile(r"(?:`|<code>)(tuner [a-z][^`<{]*?)(?:`|</code>)")
BUILT = {
    "command",
    "typed",
    "shell.command",
}  # functions whose first argument is the command's name


def program() -> Any:
    return typer.main.get_command(app)


def texts(tree: ast.AST) -> Iterator[str]:
    """Every string of a module but its docstrings, f-strings with `…` for what they are given."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (v.value if isinstance(v, ast.Constant) else "{}" for v in node.values)
            yield "".join(map(str, parts))
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
        ):
            yield node.value


def built(tree: ast.AST) -> Iterator[list[str]]:
    """The constant words of every command that the code puts together."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if (
            ast.unparse(node.func) not in BUILT
            or not node.args
            or not isinstance(node.args[0], ast.Constant)
        ):
            continue
        options = [
            constant.value
            for keyword in node.keywords
            for constant in ast.walk(keyword.value)
            if isinstance(constant, ast.Constant) and str(constant.value).startswith("--")
        ]
        yield [*node.args[0].value.split(), *options]


def hints() -> dict[str, list[str]]:
    """Where it stands → its words behind `tuner`."""
    found: dict[str, list[str]] = {}
    for path in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.html")]):
        where, content = path.relative_to(PACKAGE).as_posix(), path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            tree = ast.parse(content)
            for words in built(tree):
                found[f"{where}: {' '.join(words)}"] = words
            content = "\n".join(texts(tree))
        for line in QUOTED.findall(content):
            found[f"{where}: {line}"] = shlex.split(line)[1:]
    return found


HINTS = hints()


def test_they_are_found() -> None:
    assert len(HINTS) > 30
    assert "cli/steer.py: resume" in HINTS
    assert "winner/choice.py: export --trial --look-again --force" in HINTS
    assert "database/schema.py: tuner db upgrade" in HINTS


@pytest.mark.parametrize("words", HINTS.values(), ids=HINTS)
def test_the_command_is_there(words: list[str]) -> None:
    command, rest = program(), list(words)
    while rest and hasattr(command, "commands"):
        assert rest[0] in command.commands, words
        command = command.commands[rest.pop(0)]
    known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
    assert {word for word in rest if word.startswith("-")} <= known


@pytest.mark.parametrize("name", ["run", "confirm"])
def test_what_is_run_again_has_every_option(name: str) -> None:
    """A command that is named to go on with a study does without none that was given."""
    source = (PACKAGE / "cli" / f"{name}.py").read_text(encoding="utf-8")
    given = set(re.findall(r'^ +"(--[a-z-]+)": ', source, re.MULTILINE))
    command = program().commands[name]
    options = {o for p in command.params for o in p.opts if o.startswith("--")}
    assert given == options - {"--help"}


def test_options_as_they_were_given() -> None:
    given = {
        "--set": ["a=1", "b=x y"],
        "--name": None,
        "--workers": 2,
        "--json": True,
        "--x": False,
    }
    assert options_of(given) == ["--set", "a=1", "--set", "b=x y", "--workers", "2", "--json"]
