"""Users' own code in study files: a Python function, or any command line.

    function: train:train          a function of `train.py`, called with a `tuner.Trial`
    command: [python, train.py, --lr, "{learning_rate}"]     a list of words, never a shell

Files are looked for, and commands run, in the study file's folder, or in that named by `folder`.
"""

import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from tuner.errors import Issue
from tuner.study_file.arguments import ARGUMENTS, OPTIONS, SEPARATE, change_form
from tuner.study_file.messages import a, odd_letters, problem, quoted, written
from tuner.study_file.values import FilePath

OWN = ("function", "command")  # families whose code is the study file's

_FUNCTION = re.compile(r"([^\W\d]\w*)(\.[^\W\d]\w*)*:[^\W\d]\w*")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


class Code(BaseModel):
    """What a trial of own code runs, as it is stored with the study."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: FilePath  # absolute
    function: str | None = None
    command: tuple[str, ...] | None = None
    fingerprint: str = ""  # of the files that the function or the command names, at launch

    @field_validator("command")
    @classmethod
    def _as_it_was(cls, command: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """Studies of an older tuner go on with its form of `{arguments}`, `--name value`."""
        return command and change_form(command, None, SEPARATE)

    def in_form_of(self, stored: "Code | None") -> "Code":
        """Take over the form of `{arguments}` of a stored study, if that alone is different."""
        if stored is None or self.command is None:
            return self
        older = change_form(self.command, OPTIONS, SEPARATE)
        return self.model_copy(update={"command": older}) if older == stored.command else self


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


def wrong_names(names: Iterable[str]) -> list[Issue]:
    """Names of parameters that own code could not be given."""
    found: list[Issue] = []
    taken: dict[str, str] = {}
    for name in names:
        loc = ("search", name)
        if not _PARAMETER.fullmatch(name) or name == ARGUMENTS:
            rule = "must begin with a letter and consist of letters, digits, `_`, `.` and `-`"
            if letters := odd_letters(name):
                rule = f"must be written in the letters a to z{letters}, digits, `_`, `.` and `-`"
            reason = "means all parameters in a command" if name == ARGUMENTS else rule
            found.append(Issue(loc, f"the name {quoted(name)} {reason}", of_key=True))
        elif (other := taken.setdefault(variable(name), name)) != name:
            same = f"{quoted(name)} and {quoted(other)} would both be {variable(name)}"
            found.append(Issue(loc, f"{same} in a command's environment", of_key=True))
    return found
