"""Placeholders in a command line, and how a trial's parameters fill them.

`{name}` is the value as text, anywhere in a word; `{name:split}` becomes one word per word of the
value. `{name:FORM}` is the parameter as an option and must be a word by itself; `{arguments}` is
all parameters as options, `{arguments:FORM}` all of them in another form.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tuner.errors import Issue
from tuner.study_file.messages import instead, listed, quoted, written
from tuner.trials import ParamValue

ARGUMENTS = "arguments"  # `{arguments}` is every parameter
OPTIONS, NO, SEPARATE, HYDRA = "options", "no", "separate", "hydra"
DASHES, SPLIT = "dashes", "split"

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}:]*)(?::([^{}]*))?\}|[{}]")
_SPLIT = re.compile(r"\{([^{}:]+):split\}")
# what Hydra's override grammar reads as text without quotes
_HYDRA_WORD = re.compile(
    r"(?!(?:null|true|false|nan|inf)$)[a-z_][\w./-]*", re.ASCII | re.IGNORECASE
)


def argument_list(command: Iterable[str], params: Mapping[str, ParamValue]) -> list[str]:
    """Return the command's words with a trial's parameters filled in.

    A parameter that the trial does not have, because its condition does not hold, becomes an empty
    text within a word and is left out as an option.
    """
    words = list(command)
    placed = {name for word in words for name, form in _placeholders(word) if form is not None}
    out: list[str] = []
    for word in words:
        match = _PLACEHOLDER.fullmatch(word)
        form = None if match is None or match[2] == SPLIT else match[2]
        if match is not None and (match[1] == ARGUMENTS or form is not None):
            names = set(params) - placed if match[1] == ARGUMENTS else {match[1]}
            for name, value in params.items():
                if name in names:
                    out += _option(name, value, (form or OPTIONS).split(","))
        elif (split := _SPLIT.search(word)) is not None:
            value = params.get(split[1])
            for item in [] if value is None else as_text(value).split():
                out.append(_fill(word[: split.start()], params) + item)
                out[-1] += _fill(word[split.end() :], params)
        else:
            out.append(_fill(word, params))
    return out


def as_text(value: ParamValue) -> str:
    """Return a value as a program reads it, in full precision: `0.1`, `1e-05`, `true`, `null`."""
    return repr(value) if isinstance(value, float) else written(value)


def change_form(command: Iterable[str], old: str | None, new: str) -> tuple[str, ...]:
    """Replace one form of `{arguments}` by another."""
    replaced = f"{{{ARGUMENTS}}}" if old is None else f"{{{ARGUMENTS}:{old}}}"
    return tuple(f"{{{ARGUMENTS}:{new}}}" if word == replaced else word for word in command)


def wrong_placeholders(command: Iterable[str], names: Iterable[str]) -> list[Issue]:
    """Return an issue per placeholder that no parameter fills or whose form does not exist."""
    parameters = list(names)
    return [
        Issue(("command", index), sentence)
        for index, word in enumerate(command)
        for sentence in _mistakes(word, parameters)
    ]


def _placeholders(word: str) -> Iterator[tuple[str, str | None]]:
    """Yield the name and form of each placeholder; `{name}` has the form None."""
    for match in _PLACEHOLDER.finditer(word):
        if match[1] is not None:
            yield match[1], match[2]


def _fill(text: str, params: Mapping[str, ParamValue]) -> str:
    def fill(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        return as_text(params[match[1]]) if match[1] in params else ""

    return _PLACEHOLDER.sub(fill, text)


def _option(name: str, value: ParamValue, form: Sequence[str]) -> list[str]:
    option = name.replace("_", "-") if DASHES in form else name
    if HYDRA in form:
        return [f"{name}={_hydra(value)}"]
    if SEPARATE in form:
        return [f"--{option}", as_text(value)]
    if value is None or value is False:
        return [f"--no-{option}"] if value is False and NO in form else []
    return [f"--{option}"] if value is True else [f"--{option}={as_text(value)}"]


def _hydra(value: ParamValue) -> str:
    if not isinstance(value, str) or _HYDRA_WORD.fullmatch(value):
        return as_text(value)
    # a backslash is literal, except before a quote (the closing one too) or an interpolation
    doubled = re.sub(r"(\\+)(?='|\$\{|$)", r"\1\1", value)
    return "'" + doubled.replace("'", r"\'").replace("${", r"\${") + "'"


def _mistakes(word: str, parameters: Sequence[str]) -> Iterator[str]:
    splits = 0
    for match in _PLACEHOLDER.finditer(word):
        whole, name, form = match[0], match[1], match[2]
        if whole in ("{{", "}}"):
            continue
        if name is None:
            yield f"there is a single `{whole}` in {quoted(word)}; write it twice"
            continue
        splits += form == SPLIT
        if name != ARGUMENTS and name not in parameters:
            yield f"there is no parameter {quoted(name)}{instead(name, [*parameters, ARGUMENTS])}"
        elif form is not None and (mistake := _form_mistake(name, form)):
            yield f"{quoted(whole)}: {mistake}"
        elif word != whole and form != SPLIT and (name == ARGUMENTS or form is not None):
            yield f"{quoted(whole)} must be a word by itself"
    if splits > 1:
        yield f"there are {splits} values to split in {quoted(word)}; a word can have one"


def _form_mistake(name: str, form: str) -> str | None:
    styles = (OPTIONS, NO, SEPARATE, HYDRA)
    if form == SPLIT and name == ARGUMENTS:
        return "only a single parameter can be split"
    if form == SPLIT:
        return None
    parts = form.split(",")
    for part in parts:
        if part not in (*styles, DASHES):
            forms = [*styles, DASHES, *([SPLIT] if name != ARGUMENTS else [])]
            return f"there is no form {quoted(part)}{instead(part, forms, of='forms are')}"
    chosen = [part for part in parts if part in styles]
    if len(chosen) > 1 or len(set(parts)) < len(parts) or (HYDRA in parts and DASHES in parts):
        return f"{listed(parts)} cannot be combined; only `{DASHES}` goes with another form"
    return None
