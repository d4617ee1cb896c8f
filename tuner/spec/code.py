"""Users' own code in study files: a Python function, or any command line.

    function: train:train          a function of `train.py`, called with a `tuner.Trial`
    command: [python, train.py, --lr, "{learning_rate}"]     a list of words, never a shell

Files are looked for, and commands run, in the study file's folder, or in that named by `folder`.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tuner.errors import Issue
from tuner.spec.words import a, instead, problem, quoted, written
from tuner.trials import ParamValue

OWN = ("function", "command")  # families whose code is the study file's
ARGUMENTS = "arguments"  # `{arguments}` is every parameter, as `--name value`

_FUNCTION = re.compile(r"([^\W\d]\w*)(\.[^\W\d]\w*)*:[^\W\d]\w*")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class Code(BaseModel):
    """What a trial of own code runs, as it is stored with the study."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path  # absolute
    function: str | None = None
    command: tuple[str, ...] | None = None
    fingerprint: str = ""  # of the files that the function or the command names, at launch


def check_function(name: str) -> str:
    """Refuse what is not `module:function`; returns it."""
    path, colon, function = name.partition(":")
    is_path = path.endswith(".py") or "/" in path
    if is_path or not _FUNCTION.fullmatch(name):
        module = path.removesuffix(".py").strip("./").replace("/", ".")
        meant = f"{module}:{function if colon else 'train'}"
        hint = f"; did you mean {quoted(meant)}?" if is_path else ""
        raise problem(f"must be written as `module:function`, is {a(name)}{hint}")
    return name


def words_of(given: Any) -> Any:
    """The list of a command's words, numbers among them as text."""
    if not isinstance(given, list | tuple):
        example = '[python, train.py, --lr, "{learning_rate}"]'
        raise problem(f"must be a list of words as in `{example}`, is {a(given)}")
    if not given:
        raise problem("must have at least one word, the program")
    for index, word in enumerate(given):
        if not isinstance(word, str | int | float) or (index == 0 and not str(word).strip()):
            raise problem(f"must be text, is {a(word)}", index)
    return [written(word) for word in given]


def variable(name: str) -> str:
    """The environment variable that holds the parameter of this name in a command."""
    return "TUNER_PARAM_" + re.sub(r"[^A-Z0-9]", "_", name.upper())


def argument_list(command: Iterable[str], params: Mapping[str, ParamValue]) -> list[str]:
    """The command's words with a trial's parameters in the places of their names.

    A parameter that the trial does not have, because its condition does not hold, is empty there.
    """
    out: list[str] = []
    for word in command:
        if word == f"{{{ARGUMENTS}}}":
            for name, value in params.items():
                out += [f"--{name}", as_text(value)]
            continue
        out.append(_PLACEHOLDER.sub(lambda match: _filled(match, params), word))
    return out


def _filled(match: re.Match[str], params: Mapping[str, ParamValue]) -> str:
    if match[0] in ("{{", "}}"):
        return match[0][0]
    name = match[1]
    return as_text(params[name]) if name in params else ""


def as_text(value: ParamValue) -> str:
    """A value as a program reads it, every digit of it: `0.1`, `1e-05`, `true`, `null`."""
    return repr(value) if isinstance(value, float) else written(value)


def wrong_names(names: Iterable[str]) -> list[Issue]:
    """Names of parameters that own code could not be given."""
    found: list[Issue] = []
    taken: dict[str, str] = {}
    for name in names:
        loc = ("search", name)
        if not _PARAMETER.fullmatch(name) or name == ARGUMENTS:
            rule = "must begin with a letter and consist of letters, digits, `_`, `.` and `-`"
            reason = "means all parameters in a command" if name == ARGUMENTS else rule
            found.append(Issue(loc, f"the name {quoted(name)} {reason}", of_key=True))
        elif (other := taken.setdefault(variable(name), name)) != name:
            same = f"{quoted(name)} and {quoted(other)} would both be {variable(name)}"
            found.append(Issue(loc, f"{same} in a command's environment", of_key=True))
    return found


def wrong_placeholders(command: Iterable[str], names: Iterable[str]) -> list[Issue]:
    """Placeholders that no parameter fills."""
    known = list(names)
    found: list[Issue] = []
    for index, word in enumerate(command):
        for match in _PLACEHOLDER.finditer(word):
            loc = ("command", index)
            if match[0] in ("{{", "}}"):
                continue
            if match[1] is None:
                sentence = f"there is a single `{match[0]}` in {quoted(word)}; write it twice"
                found.append(Issue(loc, sentence))
            elif match[1] == ARGUMENTS:
                if word != match[0]:
                    found.append(Issue(loc, f"`{match[0]}` must be a word by itself"))
            elif match[1] not in known:
                end = instead(match[1], [*known, ARGUMENTS])
                found.append(Issue(loc, f"there is no parameter {quoted(match[1])}{end}"))
    return found
