"""The JSON schema (draft 2020-12) of study files, for editors; it knows the shorthands too.

It describes one file by itself: names of families, parameters and metrics, and what hangs together
between sections, are checked when a study is loaded and resolved.
"""

from typing import Any

from tuner.spec.study import StudySpec

DRAFT = "https://json-schema.org/draft/2020-12/schema"

_SCALAR: dict[str, Any] = {"type": ["string", "number", "boolean", "null"]}
_LIST: dict[str, Any] = {"type": "array", "items": _SCALAR, "minItems": 1}

# section → the field that a single word in its place fills
_SHORTHANDS = {"DataSpec": "source", "Sampler": "name", "Pruner": "name"}


def study_schema() -> dict[str, Any]:
    """The schema as plain data."""
    schema = StudySpec.model_json_schema()
    definitions = schema["$defs"]
    _values_as_lists(definitions["ParameterSpec"]["properties"]["when"]["anyOf"][0])
    _values_as_lists(schema["properties"]["forbidden"]["items"])
    for name, field in _SHORTHANDS.items():
        section = definitions[name]
        words = section["properties"][field]["enum"]
        definitions[name] = _either(section, {"type": "string", "enum": words})
    data = definitions["DataSpec"]["anyOf"][0]
    # `path` alone tells the source of tables and arrays
    data["anyOf"] = [{"required": ["source"]}, {"required": ["path"]}]
    data.pop("required", None)
    parameter = definitions["ParameterSpec"]
    _exclusive(parameter)
    definitions["ParameterSpec"] = _either(
        parameter,
        {
            "type": ["string", "number", "boolean"],
            "description": "Pins the parameter to this value.",
        },
        {**_LIST, "description": "The values to choose from."},
    )
    for name, section in schema["properties"].items():
        # sections may stand empty, with every line commented out
        if name not in schema["required"]:
            default = section.pop("default", None)
            schema["properties"][name] = {
                "anyOf": [section, {"type": "null"}],
                **({} if default is None else {"default": default}),
            }
    return {"$schema": DRAFT, **schema, "title": "tuner study"}


def _either(section: dict[str, Any], *shorthands: dict[str, Any]) -> dict[str, Any]:
    described = {"description": section["description"]} if "description" in section else {}
    return {"anyOf": [section, *shorthands], **described}


def _values_as_lists(mapping: dict[str, Any]) -> None:
    """`{optimizer: sgd}` is short for `{optimizer: [sgd]}`."""
    inner = mapping["additionalProperties"]
    branches = [branch for branch in inner.get("anyOf", [inner]) if branch.get("type") != "array"]
    mapping["additionalProperties"] = {"anyOf": [*branches, _SCALAR, _LIST]}


def _exclusive(parameter: dict[str, Any]) -> None:
    """A value, choices and a range exclude each other."""
    kinds = [["value"], ["choices"], ["low", "high", "log", "step"]]
    parameter["allOf"] = [
        {"not": {"allOf": [{"required": [first]}, {"required": [second]}]}}
        for index, group in enumerate(kinds)
        for first in group
        for others in kinds[index + 1 :]
        for second in others
    ]
    parameter["properties"]["choices"] = {**_LIST, "description": "The values to choose from."}
