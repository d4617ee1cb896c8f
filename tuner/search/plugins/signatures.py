"""Classes of Optuna in a study file, compared at the launch with what they are and what they take.

Those of other packages are not imported there, as the launch runs no code that a file names.
"""

import importlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import optuna

from tuner.errors import Issue
from tuner.study_file.messages import instead, quoted
from tuner.study_file.resolved import ResolvedSpec


def misuses(spec: ResolvedSpec) -> Iterator[Issue]:
    """Yield why Optuna's classes cannot be used as the study file says."""
    for role in ("sampler", "pruner"):
        section = getattr(spec, role)
        if role not in spec.classes and (section.class_name or "").startswith("optuna."):
            yield from _wrong(role, section.class_name, section.options)


def _wrong(role: str, path: str, options: Mapping[str, Any]) -> Iterator[Issue]:
    """Yield why a class of Optuna cannot be the sampler or pruner, or cannot take its options."""
    module, _, name = path.partition(":")
    cls = getattr(importlib.import_module(module), name)
    bases = {"sampler": optuna.samplers.BaseSampler, "pruner": optuna.pruners.BasePruner}
    if not _is_a(cls, bases[role]) or inspect.isabstract(cls):
        other = next((kind for kind in bases if kind != role and _is_a(cls, bases[kind])), None)
        actual = f"is a {other}, not a {role}" if other else f"is no {role} that can be used"
        example = f"optuna.{role}s:{'TPESampler' if role == 'sampler' else 'MedianPruner'}"
        yield Issue((role, "class"), f"{quoted(path)} {actual}; name one, such as {example}")
        return
    parameters = inspect.signature(cls).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for option in options.keys() - parameters.keys():
        hint = instead(option, parameters, of="it takes")
        yield Issue((role, "options"), f"{name} takes no argument {quoted(option)}{hint}")
    missing = [
        parameter
        for parameter, how in parameters.items()
        if how.default is how.empty and parameter not in {*options, "seed"}
        if how.kind is not how.VAR_POSITIONAL
    ]
    if missing:
        yield Issue((role, "options"), f"{name} needs {' and '.join(map(quoted, missing))}")


def _is_a(cls: Any, base: type) -> bool:
    return isinstance(cls, type) and issubclass(cls, base)
