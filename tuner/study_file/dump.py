"""A resolved study as a study file again: to read, edit, or launch under another name."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from tuner.study_file.parameters import CategoricalParameter, FixedParameter, Parameter
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.study import Sampler


def dump(spec: ResolvedSpec) -> dict[str, Any]:
    """Return plain values that resolve to the same study; defaults are left out."""
    optional: dict[str, Any] = {
        "forbidden": [
            {name: _plain(rule) for name, rule in combination.items()}
            for combination in spec.space.forbidden
        ],
        "sampler": _sampler(spec.sampler),
        **{
            section: _set_fields(getattr(spec, section))
            for section in ("pruner", "training", "resources")
        },
        # with defaults only it would be an empty section, which counts as missing
        "confirm": None
        if spec.confirm is None
        else (_set_fields(spec.confirm) or {"top": spec.confirm.top}),
        "seed": spec.seed,
        "enqueue": [dict(entry) for entry in spec.enqueue],
        "learn_from": list(spec.learn_from),
    }
    return {
        "name": spec.name,
        "family": spec.family,
        **(_code(spec) if spec.data is None else {"data": _set_fields(spec.data)}),
        "objective": spec.objective.as_written(),
        "budget": {"trials": spec.budget.trials, **_set_fields(spec.budget)},
        "search": {name: _parameter(p) for name, p in spec.space.parameters.items()},
        **{section: content for section, content in optional.items() if content},
    }


def _sampler(sampler: Sampler) -> dict[str, Any]:
    """Return the section; it always names the sampler, lest another one be chosen."""
    section = _set_fields(sampler.model_copy(update={"reason": None}))
    return section if sampler.name is None else {"name": sampler.name, **section}


def _code(spec: ResolvedSpec) -> dict[str, Any]:
    assert spec.code is not None
    return spec.code.model_dump(mode="json", exclude_none=True, exclude={"fingerprint"})


def _set_fields(section: BaseModel) -> dict[str, Any]:
    fields: dict[str, Any] = section.model_dump(mode="json", exclude_defaults=True)
    if "class" in fields:  # instead of a name
        del fields["name"]
    return fields


def _parameter(parameter: Parameter) -> dict[str, Any]:
    fields = parameter.model_dump(mode="json", exclude_defaults=True)
    when = {"when": fields["when"]} if parameter.when else {}
    if isinstance(parameter, FixedParameter):
        return {"value": parameter.value, **when}
    fields.pop("when", None)
    fields.pop("type", None)
    kind = {} if isinstance(parameter, CategoricalParameter) else {"type": parameter.type}
    return {**kind, **fields, **when}


def _plain(rule: Any) -> Any:
    if isinstance(rule, BaseModel):
        return rule.model_dump(mode="json", exclude_none=True)
    return list(rule) if not isinstance(rule, Mapping) else dict(rule)
