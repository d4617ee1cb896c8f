"""The form of the page Launch: a study file's fields and its search space, row by row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuner.families import registry
from tuner.families.card import Card
from tuner.study_file.document import NotYamlError, parse
from tuner.study_file.messages import written
from tuner.study_file.parameters import describe

START = """name: digits-cnn-2
family: cnn
data: digits
budget:
  trials: 40
  epochs: 15
"""
_EXAMPLES = {"images": "digits", "pairs": "cmudict", "corpus": "lee"}  # kind of data → source


@dataclass(frozen=True, slots=True)
class Row:
    """A parameter in the form."""

    name: str
    default: str  # in words
    mode: str  # default, range, choices, value
    low: str = ""
    high: str = ""
    log: bool = False
    choices: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """The study file as a form; what the form does not show stays in the text."""

    values: Mapping[str, str]  # dotted path → text
    family: str
    card: Card | None
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]


def example_data(family: str) -> str | None:
    """Return packaged data of the kind that a family reads first, if there is any."""
    kinds = registry.card(family).data if registry.exists(family) else ()
    return _EXAMPLES.get(kinds[0]) if kinds else None


def read_form(text: str) -> Form | None:
    """The form of a study file's text; None if the text is no YAML."""
    try:
        document = parse(text)
    except NotYamlError:
        return None
    data = document.data if isinstance(document.data, dict) else {}
    family = str(data.get("family") or "")
    card = registry.card(family) if registry.exists(family) else None
    values = {
        path: _text(_at(data, path))
        for path in (
            *("name", "family", "budget.trials", "budget.epochs", "budget.hours"),
            *("objective.metric", "objective.direction", "resources.max_concurrent"),
            *("resources.priority", "seed"),
        )
    }
    for key, subkey in (("data", "source"), ("sampler", "name"), ("pruner", "name")):
        value = data.get(key)  # a name alone, or a section that holds it
        values[key] = _text(
            value
            if isinstance(value, str)
            else _at(data, f"{key}.{subkey}") or _at(data, f"{key}.class")
        )
    values["data.path"] = _text(_at(data, "data.path"))
    metrics = (
        () if card is None else (*card.metrics, *card.metrics_with_labels, *card.metrics_of_numbers)
    )
    return Form(values, family, card, tuple(dict.fromkeys(metrics)), _rows(card, data))


def read_parameter(text: str, parameter: str) -> Any:
    """A parameter's section of the text's search space; None if there is none."""
    try:
        data = parse(text).data
    except NotYamlError:
        return None
    search = data.get("search") if isinstance(data, dict) else None
    return search.get(parameter) if isinstance(search, dict) else None


def _rows(card: Card | None, data: Mapping[str, Any]) -> tuple[Row, ...]:
    section = data.get("search")
    search: Mapping[str, Any] = section if isinstance(section, dict) else {}
    defaults = {} if card is None else card.search
    rows = []
    for name in dict.fromkeys([*defaults, *search]):
        default = defaults.get(name)
        description = "" if default is None else describe(default)
        rows.append(_row(str(name), description, search.get(name), name in search))
    return tuple(rows)


def _row(name: str, default: str, value: Any, is_set: bool) -> Row:
    if not is_set:
        return Row(name, default, "default")
    if isinstance(value, list):
        return Row(name, default, "choices", choices=_list(value))
    if not isinstance(value, dict):
        return Row(name, default, "value", value=_text(value))
    if "value" in value:
        return Row(name, default, "value", value=_text(value["value"]))
    if isinstance(value.get("choices"), list):
        return Row(name, default, "choices", choices=_list(value["choices"]))
    return Row(
        name,
        default,
        "range",
        low=_text(value.get("low")),
        high=_text(value.get("high")),
        log=value.get("log") is True,
    )


def _at(data: Any, path: str) -> Any:
    for key in path.split("."):
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _text(value: Any) -> str:
    if value is None or isinstance(value, dict | list):
        return ""
    return repr(value) if isinstance(value, float) else written(value)


def _list(values: list[Any]) -> str:
    return ", ".join(map(_text, values))
