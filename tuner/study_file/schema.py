"""The JSON schema (draft 2020-12) of study files, for editors, shorthands included.

It describes one file by itself: names of families, parameters and metrics, and relations between
values (`low` below `high`), are checked when a study is loaded and resolved.
"""

import re
from typing import Any

from tuner.study_file.code import USER_CODE_FAMILIES
from tuner.study_file.data import CORPUS_SUFFIXES, PACKAGED, PATHS
from tuner.study_file.experiment import SECTIONS
from tuner.study_file.sampler_options import NoOptions
from tuner.study_file.samplers import SAMPLERS
from tuner.study_file.study import MAX_PAST_STUDIES, StudySpec

DRAFT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_SCALAR: Schema = {"type": ["string", "number", "boolean", "null"]}
_LIST: Schema = {"type": "array", "items": _SCALAR, "minItems": 1}
_NOTHING: Schema = {"type": "null"}
_RANGE = ("low", "high", "log", "step", "points")

_CLASS = r"^([A-Za-z_]\w*(\.\w+)*:[A-Za-z_]\w*|optunahub:[\w.-]+(/[\w.-]+)+(:[A-Za-z_]\w*)?)$"
# section → the field that a single value in its place sets
_SHORTHANDS = {"DataSpec": "source", "SamplerSection": "name", "Pruner": "name"}
# pydantic leaves these untranslated where a limit stands inside `… | None`
_LIMITS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def study_schema() -> Schema:
    """Return the schema as plain data."""
    schema: Schema = _with_limits(StudySpec.model_json_schema())
    definitions = schema["$defs"]
    _data(definitions["DataSpec"])
    _user_code(schema)
    _parameter(definitions["ParameterSpec"])
    _sampler(definitions["SamplerSection"])
    _pruner(definitions["Pruner"])
    _values_as_lists(schema["properties"]["forbidden"]["items"])
    schema["properties"]["forbidden"]["items"]["minProperties"] = 1
    for name in ("metric", "direction"):
        # a list, or a single value in its place
        field = definitions["Objective"]["properties"][name]
        several = field["anyOf"][0]
        field["anyOf"] = [{**several, "minItems": 1}, several["items"], _NOTHING]
    several = schema["properties"]["learn_from"]
    schema["properties"]["learn_from"] = _either(
        {**several, "maxItems": MAX_PAST_STUDIES}, several["items"]
    )
    for name, field in _SHORTHANDS.items():
        named = definitions[name]["properties"][field]
        words = named["enum"] if "enum" in named else named["anyOf"][0]["enum"]
        short: Schema = {"type": "string", "enum": words}
        if name in ("SamplerSection", "Pruner"):
            short = {"type": "string", "anyOf": [{"enum": words}, {"pattern": _CLASS}]}
        definitions[name] = _either(definitions[name], short)
    definitions["ParameterSpec"] = _either(
        definitions["ParameterSpec"],
        {
            "type": ["string", "number", "boolean"],
            "description": "Pins the parameter to this value.",
        },
        {**_LIST, "description": "The values to choose from."},
    )
    for name, section in schema["properties"].items():
        # sections may be empty, with every line commented out
        if name not in schema["required"]:
            default = section.pop("default", None)
            schema["properties"][name] = {
                "anyOf": [section, _NOTHING],
                **({} if default is None else {"default": default}),
            }
    _experiment(schema)
    return {"$schema": DRAFT, **schema, "title": "tuner study"}


def _with_limits(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_with_limits(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    return {_LIMITS.get(key, key): _with_limits(inner) for key, inner in schema.items()}


def _either(section: Schema, *shorthands: Schema) -> Schema:
    described = {"description": section["description"]} if "description" in section else {}
    return {"anyOf": [section, *shorthands], **described}


def _values_as_lists(mapping: Schema) -> None:
    """`{optimizer: sgd}` is short for `{optimizer: [sgd]}`."""
    inner = mapping["additionalProperties"]
    branches = [branch for branch in inner.get("anyOf", [inner]) if branch.get("type") != "array"]
    mapping["additionalProperties"] = {"anyOf": [*branches, _SCALAR, _LIST]}


def _data(section: Schema) -> None:
    """Sources of files need a path; a path alone may imply its source by its name."""
    del section["required"]
    sources = "|".join(map(_any_case, (*CORPUS_SUFFIXES, ".npz")))
    properties = section["properties"]
    for name in PATHS:
        properties[name]["pattern"] = r"^(?![A-Za-z][A-Za-z0-9+.-]+://)"  # not a URL
    properties["separator"]["pattern"] = r"""^(tab|[^A-Za-z0-9"'\r\n])$"""
    section["anyOf"] = [
        {"required": ["source"]},
        {
            "required": ["path"],
            "properties": {"path": {"pattern": f"({sources})$"}},
        },
    ]
    section["allOf"] = [
        {
            "if": _is("source", "images", "npz", "text", "corpus", "pairs"),
            "then": {"required": ["path"], "properties": {"path": {"type": "string"}}},
        },
        {"if": _is("source", *PACKAGED), "then": {"properties": {"path": _NOTHING}}},
    ]


def _any_case(suffix: str) -> str:
    """Return a case-insensitive pattern for a suffix; JSON schema patterns have no flags."""
    return "".join(f"[{c}{c.upper()}]" if c.isalpha() else re.escape(c) for c in suffix)


def _user_code(schema: Schema) -> None:
    """Families of user code have it instead of data."""
    properties = schema["properties"]
    properties["command"]["anyOf"][0] |= {"minItems": 1, "items": {"type": ["string", "number"]}}
    schema["allOf"] = [
        {
            "if": _is("family", name),
            "then": {"required": [name], "properties": {name: {"not": _NOTHING}}},
            "else": {"properties": {name: _NOTHING}},
        }
        for name in USER_CODE_FAMILIES
    ]
    schema["allOf"].append(
        {
            "if": _is("family", *USER_CODE_FAMILIES),
            "then": {"properties": {"data": _NOTHING}},
            "else": {
                "required": ["data"],
                "properties": {"data": {"not": _NOTHING}, "folder": _NOTHING},
            },
        }
    )


def _experiment(schema: Schema) -> None:
    """Several families, as a list or with the sections that differ in each."""
    properties = schema["properties"]
    own = {
        "anyOf": [
            {
                "type": "object",
                "properties": {name: properties[name] for name in SECTIONS},
                "additionalProperties": False,
            },
            _NOTHING,
        ]
    }
    name = {"type": "string", "not": {"enum": list(USER_CODE_FAMILIES)}}
    properties["family"] = {
        "anyOf": [
            {"type": "string"},
            {"type": "array", "items": name, "minItems": 1, "uniqueItems": True},
            {
                "type": "object",
                "propertyNames": name,
                "additionalProperties": own,
                "minProperties": 1,
            },
        ],
        "description": properties["family"]["description"],
    }


def _parameter(section: Schema) -> None:
    """A value, choices and a range exclude each other."""
    properties = section["properties"]
    _values_as_lists(properties["when"]["anyOf"][0])
    properties["type"]["anyOf"][0]["enum"].append("fixed")
    properties["choices"]["anyOf"][0] = {**_LIST, "description": "The values to choose from."}
    section["allOf"] = [
        {
            "if": {"required": ["value"]},
            "then": _only(*_RANGE, "choices", type_=["fixed"]),
            "else": {"properties": {"type": {"not": {"const": "fixed"}}}},
        },
        {"if": _present("choices"), "then": _only(*_RANGE, type_=["categorical"])},
        {"if": _is("type", "categorical"), "then": _only(*_RANGE, type_=["categorical"])},
        {"if": _is("log", True), "then": {"properties": {"low": {"exclusiveMinimum": 0}}}},
    ]


def _sampler(section: Schema) -> None:
    """Each sampler has options of its own, the default, `auto`, has none."""
    default = section["properties"]["name"]["default"]
    models: dict[str, type[NoOptions]] = {default: NoOptions}
    models |= {name: card.options for name, card in SAMPLERS.items()}
    section["allOf"] = [
        _class_instead_of_name(section),
        *(
            {
                "if": {
                    **(_is("name", name) if name != default else _is_or_missing("name", name)),
                    "not": _present("class"),
                },
                "then": {"properties": {"options": _with_limits(model.model_json_schema())}},
            }
            for name, model in models.items()
        ),
    ]


def _pruner(section: Schema) -> None:
    """Only a class has options."""
    none = {"properties": {"options": {"maxProperties": 0}}}
    section["allOf"] = [{**_class_instead_of_name(section), "else": none}]


def _class_instead_of_name(section: Schema) -> Schema:
    section["properties"]["class"]["anyOf"][0]["pattern"] = _CLASS
    named = section["properties"]["name"]
    named["anyOf"].remove(_NOTHING)
    section["properties"]["name"] = {**named, **named.pop("anyOf")[0]}
    return {"if": _present("class"), "then": {"properties": {"name": {"not": {}}}}}


def _is_or_missing(key: str, value: object) -> Schema:
    return {"properties": {key: {"const": value}}}


def _is(key: str, *values: object) -> Schema:
    return {"required": [key], "properties": {key: {"enum": list(values)}}}


def _present(key: str) -> Schema:
    return {"required": [key], "properties": {key: {"not": _NOTHING}}}


def _only(*absent: str, type_: list[str]) -> Schema:
    """Require these keys to be absent or null, and the type, if present, to be one of these."""
    return {
        "properties": {**dict.fromkeys(absent, _NOTHING), "type": {"enum": [*type_, None]}},
    }
