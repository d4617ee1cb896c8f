"""A configuration as text to paste."""

from collections.abc import Mapping
from dataclasses import dataclass

from tuner import export, shell
from tuner.study_file.messages import written
from tuner.trials import ParamValue


@dataclass(frozen=True, slots=True)
class Snippet:
    """A configuration in one format."""

    id: str
    title: str
    text: str


def snippets(study: str, params: Mapping[str, ParamValue]) -> list[Snippet]:
    """The configuration in the formats that users paste."""
    plain = dict(params)
    return [
        Snippet("yaml", "YAML", export.yaml_text(plain).rstrip("\n")),
        *(
            Snippet(form, {"json": "JSON"}.get(form, form.title()), _format(form, plain))
            for form in ("python", "json")
        ),
        Snippet("shell", "Command line", command_line(study, plain)),
    ]


def _format(form: str, params: Mapping[str, ParamValue]) -> str:
    return export.FORMATS[form][1](params).rstrip("\n")


def command_line(study: str, params: Mapping[str, ParamValue]) -> str:
    """The command that runs this configuration again in the study."""
    pairs = (f"{name}={_exact(value)}" for name, value in params.items())
    return " \\\n  ".join([shell.command("enqueue", study), *map(shell.quote, pairs)])


def _exact(value: ParamValue) -> str:
    """The value as in a study file, with every digit."""
    return repr(value) if isinstance(value, float) else written(value)
