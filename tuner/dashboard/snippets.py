"""A configuration as text to paste: YAML, Python, JSON, a command line."""

import json
import pprint
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from tuner import export
from tuner.spec.words import written
from tuner.trials import ParamValue


@dataclass(frozen=True, slots=True)
class Snippet:
    """One form of it."""

    id: str
    title: str
    text: str


def snippets(study: str, params: Mapping[str, ParamValue]) -> list[Snippet]:
    """The forms in which people want the best configuration."""
    plain = dict(params)
    return [
        Snippet("yaml", "YAML", export.yaml_text(plain).rstrip("\n")),
        Snippet("python", "Python", f"params = {pprint.pformat(plain, sort_dicts=False)}"),
        Snippet("json", "JSON", json.dumps(plain, indent=2)),
        Snippet("shell", "Command line", command_line(study, plain)),
    ]


def command_line(study: str, params: Mapping[str, ParamValue]) -> str:
    """The command that tries just this configuration again in the study."""
    pairs = (f"{name}={_exact(value)}" for name, value in params.items())
    return " \\\n  ".join([shlex.join(["tuner", "enqueue", study]), *map(shlex.quote, pairs)])


def _exact(value: ParamValue) -> str:
    """As a study file has it, with every digit."""
    return repr(value) if isinstance(value, float) else written(value)
