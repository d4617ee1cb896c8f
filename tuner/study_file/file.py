"""A resolved study as a study file again: to read, to edit, to launch under another name."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from tuner.study_file.parameters import CategoricalParameter, FixedParameter, Parameter
from tuner.study_file.resolved import ResolvedSpec


def study_file(spec: ResolvedSpec) -> dict[str, Any]:
    """Plain values that resolve to the same study; what is as by default is left out."""
    optional: dict[str, Any] = {
        "forbidden": [
            {name: _plain(rule) for name, rule in combination.items()}
            for combination in spec.space.forbidden
        ],
        **{
            section: _given(getattr(spec, section))
            for section in ("sampler", "pruner", "training", "resources")
        },
        # with the defaults it is an empty section, which is one
        "confirm": None
        if spec.confirm is None
        else (_given(spec.confirm) or {"top": spec.confirm.top}),
        "seed": spec.seed,
        "enqueue": [dict(entry) for entry in spec.enqueue],
    }
    return {
        "name": spec.name,
        "family": spec.family,
        **(_code(spec) if spec.data is None else {"data": _given(spec.data)}),
        "objective": spec.objective.as_written(),
        "budget": {"trials": spec.budget.trials, **_given(spec.budget)},
        "search": {name: _parameter(p) for name, p in spec.space.parameters.items()},
        **{section: given for section, given in optional.items() if given},
    }


def _code(spec: ResolvedSpec) -> dict[str, Any]:
    assert spec.code is not None
    return spec.code.model_dump(mode="json", exclude_none=True, exclude={"fingerprint"})


def _given(section: BaseModel) -> dict[str, Any]:
    return section.model_dump(mode="json", exclude_defaults=True)


def _parameter(parameter: Parameter) -> dict[str, Any]:
    given = parameter.model_dump(mode="json", exclude_defaults=True)
    when = {"when": given["when"]} if parameter.when else {}
    if isinstance(parameter, FixedParameter):
        return {"value": parameter.value, **when}
    given.pop("when", None)
    given.pop("type", None)
    kind = {} if isinstance(parameter, CategoricalParameter) else {"type": parameter.type}
    return {**kind, **given, **when}


def _plain(rule: Any) -> Any:
    if isinstance(rule, BaseModel):
        return rule.model_dump(mode="json", exclude_none=True)
    return list(rule) if not isinstance(rule, Mapping) else dict(rule)
