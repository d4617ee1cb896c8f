"""Validation errors of study files as sentences: what is wrong and what would be right.

Built from pydantic's errors. A sentence never contains a line break, however hostile the text that
it quotes.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from tuner.errors import Issue, visible
from tuner.study_file import other_tools

QUOTED_LENGTH = 60  # characters

Loc = tuple[str | int, ...]


def quoted(value: object) -> str:
    """Return a user's text in backquotes: one line, shortened, without control characters."""
    text = str(value)
    if len(text) > QUOTED_LENGTH:
        text = text[: QUOTED_LENGTH - 1] + "…"
    return f"`{visible(text)}`"


def written(value: object) -> str:
    """Return a value as it is written in a study file."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:.12g}"
    return str(value)


def listed(values: Iterable[object]) -> str:
    """Join values with commas and shorten long lists."""
    texts = [quoted(written(value))[1:-1] for value in values]
    return ", ".join(texts[:30]) + (f" … ({len(texts)} in all)" if len(texts) > 30 else "")


def a(value: object) -> str:
    """Describe a value for a sentence: "the text `abc`", "a list"."""
    if isinstance(value, Mapping | BaseModel):
        return "a section"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "empty"
    if isinstance(value, str):
        return f"the text {quoted(value)}" if value else "an empty text"
    return quoted(written(value))


def counted(number: int, unit: str, plural: str | None = None) -> str:
    """Return a number with its unit: `1 row`, `3,708 rows`, `2 studies`."""
    several = plural or unit + ("es" if unit.endswith("s") else "s")
    return f"{number:,} {unit if number == 1 else several}"


def ordinal(number: int) -> str:
    """Return 1st, 2nd, 3rd, 4th …"""
    teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def nearest(word: object, options: Iterable[object]) -> str | None:
    """Return the option most likely meant by `otimizer`, `lr` (learning_rate) or `max`."""
    by_lower = {str(option).lower(): str(option) for option in options}
    typed = str(word)[:100].lower()
    close = difflib.get_close_matches(typed, by_lower, n=1, cutoff=0.6)
    if not close and len(typed) > 1:
        shortened = [o for o in by_lower if o.startswith(typed) or _initials(o) == typed]
        close = shortened if len(shortened) == 1 else []
    return by_lower[close[0]] if close else None


def _initials(name: str) -> str:
    return "".join(part[:1] for part in name.split("_"))


def instead(word: object, options: Iterable[object], *, of: str = "allowed are") -> str:
    """End a sentence about an unknown word: suggest the nearest option, or list all."""
    options = list(options)
    letters = odd_letters(str(word))
    if (close := nearest(word, options)) is not None:
        return f"; did you mean {quoted(close)}?{letters}"
    return f"{letters}; {of} {listed(options)}" if options else letters


def odd_letters(word: str) -> str:
    """Name the letters of a word outside a to z, since some look just like them."""
    odd = [c for c in dict.fromkeys(word[:QUOTED_LENGTH]) if not c.isascii() and c.isprintable()]
    named = [f"{quoted(c)} is {unicodedata.name(c, f'U+{ord(c):04X}')}" for c in odd[:3]]
    return f" ({', '.join(named)})" if named else ""


def decimal_comma(value: object) -> str:
    """End a sentence about `0,001` or `1,000`; empty for anything else."""
    if not isinstance(value, str):
        return ""
    whole, point = value.replace(",", ""), value.replace(",", ".")
    if re.fullmatch(
        r"[-+]?[1-9][0-9]{0,2},[0-9]{3}", value
    ):  # thousands or decimals? depends on the country
        return f"; write {whole} without the comma, or {point} with a decimal point"
    if re.fullmatch(r"[-+]?[1-9][0-9]{0,2}(,[0-9]{3})+", value):
        return f"; write it without commas: {whole}"
    if re.fullmatch(r"[-+]?[0-9]+,[0-9]+([eE][-+]?[0-9]+)?", value):
        return f"; write it with a decimal point: {point}"
    return ""


def _is_path(value: object) -> bool:
    return isinstance(value, str) and bool(re.search(r"[/\\]|\.[A-Za-z][A-Za-z0-9]{1,7}$", value))


def one_of(value: object, options: Sequence[object], *, hint: str | None = None) -> str:
    """Return the sentence for a value that is none of the options.

    It ends with the `hint`, or else with a guess at what was meant.
    """
    close = nearest(value, options) if isinstance(value, str) and hint is None else None
    if close is not None:
        hint = f"did you mean {quoted(close)}?"
    return f"must be one of {listed(options)}; is {a(value)}" + (f"; {hint}" if hint else "")


def problem(message: str, *at: str | int) -> PydanticCustomError:
    """Return an error to raise in a validator; `at` is the path from its value to the field."""
    return PydanticCustomError("tuner", "{message}", {"message": message, "at": list(at)})


def first_problem(
    error: ValidationError, model: type[BaseModel], *at: str | int
) -> PydanticCustomError:
    """Return the first error of a model that is validated inside a validator of another."""
    first = issues(error, model)[0]
    return problem(first.message, *at, *(first.loc[:-1] if first.of_key else first.loc))


def issues(error: ValidationError, model: type[BaseModel]) -> list[Issue]:
    """Return the location and a sentence for each error of a validated model."""
    details = error.errors(include_url=False)
    words = {d["loc"][:-1]: _literals(model, d["loc"][:-1]) for d in details if _is_word(d)}
    return [
        _or_a_word(_issue(detail, model), words.get(detail["loc"][:-1], ()), detail["input"])
        for detail in details
        if not _is_word(detail)
    ]


def _is_word(detail: ErrorDetails) -> bool:
    """Whether an error is of the words in a union such as `auto` or a number."""
    return detail["type"] == "literal_error" and str(detail["loc"][-1]).startswith("literal[")


def _or_a_word(issue: Issue, words: Sequence[str], value: object) -> Issue:
    """Name the words that would do beside what the other member of their union asks for."""
    if not words:
        return issue
    close = nearest(value, words) if isinstance(value, str) else None
    hint = f"; did you mean {quoted(close)}?" if close is not None else ""
    message = issue.message.replace("must be ", f"must be {' or '.join(words)}, or ", 1)
    return issue._replace(message=message + hint)


def _issue(detail: ErrorDetails, model: type[BaseModel]) -> Issue:
    loc, kind, value = detail["loc"], detail["type"], detail["input"]
    context: dict[str, Any] = detail.get("ctx", {})
    if kind == "tuner":
        return Issue((*loc, *context["at"]), context["message"])
    if kind == "extra_forbidden":
        key = str(loc[-1])
        hint = other_tools.instead(loc, value) or _section_of(key, model, loc)
        end = f"; {hint}" if hint is not None else instead(key, keys(model, loc[:-1]))
        return Issue(loc, f"unknown key {quoted(key)}{end}", of_key=True)
    if kind == "value_error":
        return Issue(loc, str(context["error"]))
    if kind == "missing":
        allowed = _literals(model, loc)
        return Issue(loc, "is missing" + (f"; must be one of {listed(allowed)}" if allowed else ""))
    if kind == "literal_error" and loc == ("data", "source") and _is_path(value):
        sentence = f"{quoted(value)} is the name of a file: write `data: {{path: {value}}}`"
        return Issue(loc, visible(sentence))
    if kind == "literal_error":
        hint = other_tools.choice(loc, value)
        return Issue(loc, one_of(value, _literals(model, loc), hint=hint))
    return Issue(loc, _sentence(kind, value, context) or _fallback(detail["msg"], value))


def _sentence(kind: str, value: object, context: Mapping[str, Any]) -> str | None:
    is_ = f"is {a(value)}"
    limits = {
        "greater_than": ("gt", "above"),
        "greater_than_equal": ("ge", "at least"),
        "less_than": ("lt", "below"),
        "less_than_equal": ("le", "at most"),
    }
    if kind in limits:
        key, word = limits[kind]
        return f"must be {word} {written(context[key])}, {is_}"
    if kind == "finite_number":
        return f"must be a finite number, {is_}"
    if kind == "string_type":
        hint = "" if isinstance(value, Mapping | list | tuple) or value is None else _QUOTES
        return f"must be text, {is_}{hint}"
    if kind == "path_type":
        return f"must be the path of a file or folder, {is_}"
    if kind in ("tuple_type", "list_type"):
        return f"must be a list, {is_}"
    if kind in ("model_type", "model_attributes_type", "dict_type", "mapping_type"):
        return f"must be a section of `key: value` lines, {is_}"
    if kind in ("too_short", "too_long"):
        expected = context.get("min_length", context.get("max_length"))
        return f"must have {expected} entries, has {context['actual_length']}"
    return None


_QUOTES = "; put it in quotes"


def _fallback(message: str, value: object) -> str:
    text = re.sub(r"^(Value error, |Input )", "", " ".join(message.split()))
    text = re.sub(r"^should ", "must ", text)
    return text if text.startswith("must ") is False else f"{text}, is {a(value)}"


def keys(model: type[BaseModel], loc: Loc) -> list[str]:
    """Return the keys allowed in the section at `loc`."""
    section = _at(model, loc)
    if isinstance(section, type) and issubclass(section, BaseModel):
        return [field.alias or name for name, field in section.model_fields.items()]
    return []


def _section_of(key: str, model: type[BaseModel], loc: Loc) -> str | None:
    """Suggest the section that a top-level key belongs in, if exactly one has such a key."""
    if len(loc) > 1:
        return None
    sections = [name for name in model.model_fields if key in keys(model, (name,))]
    return f"it belongs in `{sections[0]}`" if len(sections) == 1 else None


def _literals(model: type[BaseModel], loc: Loc) -> Sequence[str]:
    options = (_at(model, loc), *get_args(_at(model, loc)))  # also of `Literal | None`
    return tuple(v for option in options for v in get_args(option) if isinstance(v, str))


def _at(annotation: Any, loc: Loc) -> Any:
    """Return the type at `loc`, following fields, dict values and tuple entries."""
    for part in loc:
        section = _model(annotation)
        if section is not None:
            fields = {field.alias or name: field for name, field in section.model_fields.items()}
            if part not in fields:
                return None
            annotation = fields[str(part)].annotation
        else:
            arguments = [x for x in get_args(_bare(annotation)) if x is not Ellipsis]
            annotation = arguments[-1] if arguments else None
    return _model(annotation) or annotation


def _bare(annotation: Any) -> Any:
    """Strip annotations and `| None` from a type."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _bare(arguments[0])
    if origin in (Union, UnionType):
        others = [x for x in arguments if x is not type(None)]
        return _bare(others[0]) if len(others) == 1 else annotation
    return annotation


def _model(annotation: Any) -> type[BaseModel] | None:
    """Return the model inside an annotation, also inside `Model | None` and `Annotated`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) not in (Union, UnionType, Annotated):
        return None
    return next(filter(None, map(_model, get_args(annotation))), None)
