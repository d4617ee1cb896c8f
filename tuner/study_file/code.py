"""User code in study files: a Python function or any command line.

    function: train:train          a function of `train.py`, called with a `tuner.Trial`
    command: [python, train.py, --lr, "{learning_rate}"]     a list of words, never a shell

Files are looked up, and commands run, in the study file's folder or in the one named by `folder`.
"""

import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from tuner.errors import Issue
from tuner.study_file.arguments import ARGUMENTS, OPTIONS, SEPARATE, change_form
from tuner.study_file.messages import a, odd_letters, problem, quoted, written
from tuner.study_file.values import FilePath

USER_CODE_FAMILIES = ("function", "command")  # families whose code is the study file's

_FUNCTION = re.compile(r"([^\W\d]\w*)(\.[^\W\d]\w*)*:[^\W\d]\w*")
_HUB = re.compile(r"optunahub:[\w.-]+(/[\w.-]+)+(:[^\W\d]\w*)?")
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


class Code(BaseModel):
    """What a trial of user code runs, as stored with the study."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: FilePath  # absolute
    function: str | None = None
    command: tuple[str, ...] | None = None
    fingerprint: str = ""  # of the files that the function or the command names, at launch

    @field_validator("command")
    @classmethod
    def _as_it_was(cls, command: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """Keep `--name value` as the form of `{arguments}` for studies stored by an older tuner."""
        return command and change_form(command, None, SEPARATE)

    def in_form_of(self, stored: "Code | None") -> "Code":
        """Take over the stored study's form of `{arguments}` if nothing else differs."""
        if stored is None or self.command is None:
            return self
        older = change_form(self.command, OPTIONS, SEPARATE)
        return self.model_copy(update={"command": older}) if older == stored.command else self


def check_function(name: str) -> str:
    """Return the name if it is `module:function`; refuse anything else."""
    path, colon, function = name.partition(":")
    is_path = path.endswith(".py") or "/" in path
    if is_path or not _FUNCTION.fullmatch(name):
        module = path.removesuffix(".py").strip("./").replace("/", ".")
        suggestion = f"{module}:{function if colon else 'train'}"
        hint = f"; did you mean {quoted(suggestion)}?" if is_path else ""
        raise problem(f"must be written as `module:function`, is {a(name)}{hint}")
    return name


def check_class(path: str) -> str:
    """Return the path of a class if it is `package.module:Class`; refuse anything else."""
    if not _FUNCTION.fullmatch(path) and not _HUB.fullmatch(path):
        module, _, name = path.rpartition(".")
        hint = f"; did you mean {quoted(f'{module}:{name}')}?" if _DOTTED.fullmatch(path) else ""
        raise problem(f"must be written as `package.module:Class`, is {a(path)}{hint}")
    return path


def words_of(words: Any) -> Any:
    """Return a command's words, with numbers as text."""
    if not isinstance(words, list | tuple):
        example = '[python, train.py, --lr, "{learning_rate}"]'
        raise problem(f"must be a list of words as in `{example}`, is {a(words)}")
    if not words:
        raise problem("must have at least one word, the program")
    for index, word in enumerate(words):
        if not isinstance(word, str | int | float) or (index == 0 and not str(word).strip()):
            raise problem(f"must be text, is {a(word)}", index)
    return [written(word) for word in words]


def variable(name: str) -> str:
    """Return the environment variable that holds the parameter of this name in a command."""
    return "TUNER_PARAM_" + re.sub(r"[^A-Z0-9]", "_", name.upper())


def wrong_names(names: Iterable[str]) -> list[Issue]:
    """Return an issue per parameter name that cannot be passed to user code."""
    problems: list[Issue] = []
    variables: dict[str, str] = {}
    for name in names:
        loc = ("search", name)
        if not _PARAMETER.fullmatch(name) or name == ARGUMENTS:
            rule = "must begin with a letter and consist of letters, digits, `_`, `.` and `-`"
            if letters := odd_letters(name):
                rule = f"must be written in the letters a to z{letters}, digits, `_`, `.` and `-`"
            reason = "means all parameters in a command" if name == ARGUMENTS else rule
            problems.append(Issue(loc, f"the name {quoted(name)} {reason}", of_key=True))
        elif (other := variables.setdefault(variable(name), name)) != name:
            same = f"{quoted(name)} and {quoted(other)} would both be {variable(name)}"
            problems.append(Issue(loc, f"{same} in a command's environment", of_key=True))
    return problems
