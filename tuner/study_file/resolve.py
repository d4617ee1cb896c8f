"""A study file and its family's default search space → ResolvedSpec, fully resolved.

All problems are collected and raised as one SpecError with an issue for each; the file's Source
turns these into lines (`Source.locating`).
"""

import math
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from pydantic import ValidationError

from tuner.errors import Issue, SpecError
from tuner.study_file.arguments import OPTIONS, change_form, wrong_placeholders
from tuner.study_file.auto import choose, settle
from tuner.study_file.code import USER_CODE_FAMILIES, Code, wrong_names
from tuner.study_file.fit import NotFittingError, fit, in_range, numeric
from tuner.study_file.limits import Limit, outside
from tuner.study_file.merge import merge
from tuner.study_file.messages import instead, issues, listed, one_of, quoted, written
from tuner.study_file.parameters import (
    FixedParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    among,
    canonical,
    values,
)
from tuner.study_file.resolved import (
    ResolvedBudget,
    ResolvedObjective,
    ResolvedSpec,
    SecondaryObjective,
)
from tuner.study_file.search_checks import GRID_CLASSES, wrong_classes, wrong_sampler
from tuner.study_file.space import MAX_CELLS, Range, Space
from tuner.study_file.study import (
    CLASS_ACCURACY,
    DATA_FIDELITY,
    METRICS,
    Pruner,
    Sampler,
    StudySpec,
    metric_range,
)
from tuner.trials import COSTS, ParamValue


def check_family(spec: StudySpec, families: Sequence[str]) -> None:
    """Raise SpecError if the study's family is not installed."""
    if spec.family not in families:
        sentence = f"unknown family {quoted(spec.family)}{instead(spec.family, families)}"
        raise SpecError(issues=[Issue(("family",), sentence)])


def resolve(
    spec: StudySpec,
    *,
    default: Mapping[str, Parameter],
    metrics: Sequence[str],
    epochs: int | None,
    min_epochs: int = 1,
    costs: Sequence[str] = tuple(COSTS),
    limits: Mapping[str, Limit] = MappingProxyType({}),
    trains_on_shares: bool = False,
    also: Mapping[str, Sequence[ParamValue]] = MappingProxyType({}),
) -> ResolvedSpec:
    """Merge the file's `search` over the family's default space and check their consistency.

    `metrics` are the family's, the first of which is the default; `epochs` and `min_epochs` are the
    defaults of budget and pruner. Families of user code have none of these: the file says it all.
    `costs` are what tuner itself measures of the family's trials, `limits` the hard limits of its
    parameters, `also` choices that it supports besides those of the default space.
    `trains_on_shares`: it can train on a share of its training examples.
    """
    problems: list[Issue] = []
    parameters = _parameters(spec, default, also, limits, problems)
    code = _code(spec, parameters, problems)
    objective = _objective(spec, metrics, costs, problems)
    epochs = spec.budget.epochs or epochs
    budget: ResolvedBudget | None = None
    try:
        budget = ResolvedBudget.model_validate({**spec.budget.model_dump(), "epochs": epochs})
    except ValidationError as error:
        problems.extend(i._replace(loc=("budget", *i.loc)) for i in issues(error, ResolvedBudget))
    _check_constraints(spec, metrics, costs, problems)
    pruner = _pruner(spec, problems)
    _check_fidelity(spec, problems, trains_on_shares=trains_on_shares)
    if spec.budget.fidelity is not None:
        min_epochs = 1  # its lowest level is the first rung
    if "min_epochs" not in pruner.model_fields_set:
        pruner = pruner.model_copy(update={"min_epochs": min(min_epochs, epochs or min_epochs)})
    longest = epochs or spec.pruner.first_rung
    if pruner.name != "none" and spec.pruner.first_rung > longest:
        sentence = f"must be at most budget.epochs ({epochs}), is {spec.pruner.first_rung}"
        problems.append(Issue(("pruner", "min_epochs"), sentence))
    if spec.pruner.is_adaptive and len(spec.objective.metric or ()) > 1:
        field = "min_epochs" if spec.pruner.min_epochs == "auto" else "reduction"
        sentence = "cannot be auto with several metrics; write a number, or optimize one"
        problems.append(Issue(("pruner", field), sentence))
    if spec.pruner.resume and len(spec.objective.metric or ()) > 1:
        sentence = "is not possible with several metrics; remove it, or optimize one"
        problems.append(Issue(("pruner", "resume"), sentence))
    if pruner.name == "hyperband" and epochs is None and spec.budget.fidelity is None:
        sentence = "needs `budget.epochs`, from which its brackets follow"
        problems.append(Issue(("pruner", "name"), sentence))
    _check_conditions(spec, parameters, default, problems)
    _check_reachable(spec, parameters, problems)
    forbidden = _forbidden(spec, parameters, default, problems)
    space: Space | None = None
    if not problems:
        try:
            space = Space(parameters=parameters, forbidden=forbidden)
        except ValidationError as error:
            problems.extend(issues(error, Space))
    enqueue = _enqueue(spec, parameters, space, problems)
    if spec.learn_from and len(spec.objective.metric or ()) > 1:
        sentence = "has no meaning with several metrics; remove it"
        problems.append(Issue(("learn_from",), sentence))
    if spec.sampler.name == "grid" or spec.sampler.class_name in GRID_CLASSES:
        label = spec.sampler.name or spec.sampler.class_name
        sentence = f"has no meaning with `sampler: {label}`, which tries its own points; remove it"
        with_prior = [name for name, own in spec.search.items() if own.prior is not None]
        problems += [Issue(("search", name, "prior"), sentence) for name in with_prior]
        problems += [Issue(("learn_from",), sentence)] if spec.learn_from else []
    sampler: Sampler | None = None
    if space is not None:
        objectives = len(spec.objective.metric or (1,))
        choice = choose(
            space,
            objectives=objectives,
            budget=spec.budget,
            pruner=pruner,
            repeat=spec.sampler.repeat,
        )
        sampler = settle(spec.sampler, choice)
        problems.extend(wrong_sampler(sampler, space, objectives))
        problems.extend(wrong_classes(sampler, pruner, space, objectives))
    if problems or space is None or objective is None or budget is None or sampler is None:
        raise SpecError(issues=problems)
    return ResolvedSpec(
        name=spec.name,
        family=spec.family,
        data=spec.data,
        code=code,
        objective=objective,
        constraints=spec.constraints,
        budget=budget,
        space=space,
        sampler=sampler,
        pruner=pruner,
        training=spec.training,
        resources=spec.resources,
        confirm=spec.confirm,
        seed=spec.seed,
        enqueue=enqueue,
        learn_from=spec.learn_from,
    )


def _code(
    spec: StudySpec, parameters: Mapping[str, Parameter], problems: list[Issue]
) -> Code | None:
    """Return the file's user code and collect its problems; None for other families."""
    if spec.family not in USER_CODE_FAMILIES:
        return None
    if not spec.search:
        sentence = f"is missing; `family: {spec.family}` has no search space but the file's"
        problems.append(Issue(("search",), sentence))
    problems.extend(wrong_names(spec.search))
    if spec.command is not None:
        problems.extend(wrong_placeholders(spec.command, parameters))
    for name in ("early_stop", "precision"):
        if getattr(spec.training, name) != type(spec.training).model_fields[name].default:
            sentence = f"has no meaning with `family: {spec.family}`; remove it"
            problems.append(Issue(("training", name), sentence))
    assert spec.folder is not None
    command = spec.command and change_form(spec.command, None, OPTIONS)
    return Code(folder=spec.folder, function=spec.function, command=command)


def _unknown(name: str, options: Sequence[str], *loc: str | int) -> Issue:
    end = instead(name, options, of="the family has")
    return Issue((*loc, name), f"unknown parameter {quoted(name)}{end}", of_key=True)


def _parameters(
    spec: StudySpec,
    default: Mapping[str, Parameter],
    also: Mapping[str, Sequence[ParamValue]],
    limits: Mapping[str, Limit],
    problems: list[Issue],
) -> dict[str, Parameter]:
    """Merge the parameters; one that cannot be merged stays as in the family's default."""
    out: dict[str, Parameter] = dict(default)
    for name, overrides in spec.search.items():
        if name not in default and spec.family not in USER_CODE_FAMILIES:
            problems.append(_unknown(name, list(default), "search"))
            continue
        parameter = merge(overrides, default.get(name), also.get(name, ()))
        if not isinstance(parameter, list):
            out[name] = parameter
            parameter = list(outside(parameter, limits[name])) if name in limits else []
        problems.extend(issue._replace(loc=("search", name, *issue.loc)) for issue in parameter)
    return out


def _objective(
    spec: StudySpec, metrics: Sequence[str], costs: Sequence[str], problems: list[Issue]
) -> ResolvedObjective | None:
    names, directions_of_file = (
        spec.objective.metric or tuple(metrics[:1]),
        spec.objective.direction,
    )
    before = len(problems)
    if not names:
        sentence = "is missing; name the metric that your code reports"
        problems.append(Issue(("objective", "metric"), sentence))
    if directions_of_file is not None and len(directions_of_file) != len(names):
        sentence = (
            f"must have one for each of the {len(names)} metrics, has {len(directions_of_file)}"
        )
        problems.append(Issue(("objective", "direction"), sentence))
    for place, name in enumerate(names):
        loc = ("objective", "metric", place)
        allowed = [*metrics, *costs] if place else metrics
        if name in names[:place]:
            problems.append(Issue(loc, f"{quoted(name)} is named twice"))
        elif place == 0 and name in COSTS:
            sentence = (
                f"{quoted(name)} is not measured every epoch; name a metric that is, before it"
            )
            problems.append(Issue(loc, sentence))
        elif metrics and name not in allowed:
            problems.append(Issue(loc, one_of(name, allowed)))
        elif directions_of_file is None and name not in METRICS:
            sentence = f"is missing; {quoted(name)} has no default: write maximize or minimize"
            problems.append(Issue(("objective", "direction"), sentence))
    for name in spec.objective.reference:
        if name not in names or len(names) < 2:
            sentence = (
                f"{quoted(name)} is no objective{instead(name, names)}"
                if len(names) > 1
                else "has no meaning with one metric; remove it"
            )
            problems.append(Issue(("objective", "reference", name), sentence, of_key=True))
    if len(problems) > before:
        return None
    directions = directions_of_file or [METRICS[name] for name in names]
    first, *others = (
        SecondaryObjective(metric=name, direction=direction)
        for name, direction in zip(names, directions, strict=True)
    )
    _check_reference(spec.objective.reference, (first, *others), metrics, problems)
    return ResolvedObjective(
        metric=first.metric,
        direction=first.direction,
        secondary=tuple(others),
        reference=spec.objective.reference,
    )


def _range_of(name: str, metrics: Sequence[str]) -> tuple[float, float]:
    """Return the range of what tuner measures; user code may report an accuracy in percent."""
    return metric_range(name) if metrics or name in COSTS else (-math.inf, math.inf)


def _check_reference(
    reference: Mapping[str, float],
    objectives: Sequence[SecondaryObjective],
    metrics: Sequence[str],
    problems: list[Issue],
) -> None:
    """Refuse a reference that no trial can be better than: the hypervolume would remain 0."""
    for objective in objectives:
        low, high = _range_of(objective.metric, metrics)
        value = reference.get(objective.metric)
        maximizes = objective.direction == "maximize"
        if value is None or (value < high if maximizes else value > low):
            continue
        bound = f"below {written(high)}" if maximizes else f"above {written(low)}"
        sentence = f"must be {bound}, the best possible value, is {written(value)}"
        problems.append(Issue(("objective", "reference", objective.metric), sentence))


def _pruner(spec: StudySpec, problems: list[Issue]) -> Pruner:
    """Return the file's pruner. With several metrics, user code is pruned only on request.

    Whether it reports all of them every epoch is not known, and a trial that is behind in one may
    lead in another.
    """
    if len(spec.objective.metric or ()) < 2:
        return spec.pruner
    if spec.pruner.name in ("median", "curves"):
        sentence = "compares the first metric alone; with several, write rungs, hyperband or none"
        problems.append(Issue(("pruner", "name"), sentence))
    is_default = "pruner" not in spec.model_fields_set
    return Pruner(name="none") if is_default and spec.family in USER_CODE_FAMILIES else spec.pruner


def _check_fidelity(spec: StudySpec, problems: list[Issue], *, trains_on_shares: bool) -> None:
    """Refuse a fidelity that the family does not have, and settings that mean nothing beside it."""
    fidelity, loc = spec.budget.fidelity, ("budget", "fidelity")
    if fidelity is None:
        return
    is_own = spec.family in USER_CODE_FAMILIES
    if not is_own and not trains_on_shares:
        sentence = f"has no meaning with `family: {spec.family}`, which trains on all of its data"
        problems.append(Issue(loc, f"{sentence}; remove it"))
    elif not is_own and fidelity.name != DATA_FIDELITY:
        sentence = f"must be `{DATA_FIDELITY}`, the only one of `family: {spec.family}`"
        problems.append(Issue((*loc, "name"), f"{sentence}; is {quoted(fidelity.name)}"))
    elif not is_own and fidelity.high != 1:
        sentence = f"must be 1, all training examples, is {fidelity.high:g}"
        problems.append(Issue((*loc, "high"), sentence))
    if is_own and spec.budget.epochs is not None:
        sentence = "has no meaning beside `budget.fidelity`, whose levels are the steps; remove it"
        problems.append(Issue(("budget", "epochs"), sentence))
    if spec.budget.total_epochs is not None:
        sentence = "has no meaning beside `budget.fidelity`: trials report levels, not epochs"
        problems.append(Issue(("budget", "total_epochs"), f"{sentence}; remove it"))
    if "min_epochs" in spec.pruner.model_fields_set:
        sentence = "has no meaning beside `budget.fidelity`; write its `low` instead"
        problems.append(Issue(("pruner", "min_epochs"), sentence))
    if spec.pruner.reduction == "auto":
        sentence = "cannot be auto beside `budget.fidelity`, whose levels follow from it"
        problems.append(Issue(("pruner", "reduction"), sentence))


def _check_constraints(
    spec: StudySpec, metrics: Sequence[str], costs: Sequence[str], problems: list[Issue]
) -> None:
    """Refuse bounds on what is not measured, and those that no value can keep."""
    for name, bounds in spec.constraints.items():
        loc = ("constraints", name)
        is_of_class = name.startswith(CLASS_ACCURACY) and "accuracy" in metrics
        if metrics and not is_of_class and name not in (allowed := [*metrics, *costs]):
            problems.append(Issue(loc, one_of(name, allowed), of_key=True))
            continue
        low, high = _range_of(name, metrics)
        if bounds.above is not None and bounds.above > high:
            sentence = f"is above all values of {quoted(name)}, at most {written(high)}"
            problems.append(Issue((*loc, "above"), sentence))
        if bounds.below is not None and bounds.below < low:
            sentence = f"is below all values of {quoted(name)}, at least {written(low)}"
            problems.append(Issue((*loc, "below"), sentence))


def _family_kind(
    name: str, parameters: Mapping[str, Parameter], default: Mapping[str, Parameter]
) -> Parameter:
    """Return the parameter that decides which values are possible: the family's default."""
    return default.get(name, parameters[name])


def _check_conditions(
    spec: StudySpec,
    parameters: Mapping[str, Parameter],
    default: Mapping[str, Parameter],
    problems: list[Issue],
) -> None:
    for name, parameter in spec.search.items():
        for parent, allowed in (parameter.when or {}).items():
            loc = ("search", name, "when")
            if parent not in parameters:
                problems.append(_unknown(parent, list(parameters), *loc))
                continue
            if name in default and default[name].when.get(parent) == allowed:
                continue  # the family's own condition, which other data may have made impossible
            if parent not in default and isinstance(parameters[parent], FixedParameter):
                continue  # user code: unknown what it takes when it is not pinned
            issues: list[Issue] = []
            for index, value in enumerate(allowed):
                try:
                    fit(value, _family_kind(parent, parameters, default))
                except NotFittingError as error:
                    issues.append(Issue((*loc, parent, index), str(error)))
            if not issues and (sentence := _never(allowed, parameters[parent])) is not None:
                issues.append(Issue((*loc, parent), sentence))
            problems += issues


def _never(allowed: Sequence[ParamValue], parent: Parameter) -> str | None:
    """Return why a range holds none of the values, so a condition on them never holds."""
    if not isinstance(parent, FloatParameter | IntParameter):
        return None
    sentence = None
    for value in allowed:
        try:
            in_range(value, parent)
        except NotFittingError as error:
            sentence = sentence or str(error)
        else:
            return None
    return sentence


def _check_reachable(
    spec: StudySpec, parameters: Mapping[str, Parameter], problems: list[Issue]
) -> None:
    """Refuse parameters of the file that the family's condition rules out in every trial."""
    for name, parameter in spec.search.items():
        if name not in parameters or parameter.when is not None:
            continue
        for parent, allowed in parameters[name].when.items():
            options = values(parameters[parent], MAX_CELLS)
            reachable = [canonical(value, parameters[parent]) for value in allowed]
            if options is not None and not any(among(value, reachable) for value in options):
                sentence = _no_meaning(name, parent, listed(options), parameters)
                problems.append(Issue(("search", name), sentence))


def _forbidden(
    spec: StudySpec,
    parameters: Mapping[str, Parameter],
    default: Mapping[str, Parameter],
    problems: list[Issue],
) -> tuple[dict[str, Range | tuple[ParamValue, ...]], ...]:
    for index, combination in enumerate(spec.forbidden):
        for name, rule in combination.items():
            loc = ("forbidden", index)
            if name not in parameters:
                problems.append(_unknown(name, list(parameters), *loc))
                continue
            if name not in default and isinstance(parameters[name], FixedParameter):
                continue
            kind = _family_kind(name, parameters, default)
            if isinstance(rule, Range):
                if not numeric(kind):
                    sentence = (
                        f"{quoted(name)} is not a number, so `above` and `below` have no meaning"
                    )
                    problems.append(Issue((*loc, name), sentence))
                continue
            for position, value in enumerate(rule):
                try:
                    fit(value, kind)
                except NotFittingError as error:
                    problems.append(Issue((*loc, name, position), str(error)))
    return spec.forbidden


def fit_configuration(space: Space, params: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
    """Convert a configuration to its parameters' types; SpecError if it is impossible."""
    out, problems = _entry(params, space.parameters, frozenset())
    if not problems:
        problems = _check_entry(out, space)
    if problems:
        raise SpecError(issues=problems)
    return out


def fit_possible(params: Mapping[str, ParamValue], space: Space) -> dict[str, ParamValue]:
    """Return the part of a configuration that this space could draw; {} if it is forbidden."""
    out: dict[str, ParamValue] = {}
    params_so_far = _pinned(space)
    for name, parameter in space.parameters.items():
        if name not in params or name in params_so_far or not space.is_active(name, params_so_far):
            continue
        try:
            params_so_far[name] = out[name] = in_range(params[name], parameter)
        except NotFittingError:
            continue
    return {} if space.is_forbidden(params_so_far) else out


def _enqueue(
    spec: StudySpec,
    parameters: Mapping[str, Parameter],
    space: Space | None,
    problems: list[Issue],
) -> tuple[dict[str, ParamValue], ...]:
    """Return the configurations to try first, converted to their parameters' types."""
    out: list[dict[str, ParamValue]] = []
    # where the merge failed, the intended range is unknown
    unknown_range = {
        issue.loc[1] for issue in problems if issue.loc[0] == "search" and issue.loc[1:]
    }
    for index, entry in enumerate(spec.enqueue):
        configuration, wrong = _entry(entry, parameters, unknown_range)
        if space is not None and not wrong:
            wrong = _check_entry(configuration, space)
        problems.extend(issue._replace(loc=("enqueue", index, *issue.loc)) for issue in wrong)
        out.append(configuration)
    return tuple(out)


def _entry(
    entry: Mapping[str, ParamValue],
    parameters: Mapping[str, Parameter],
    unknown_range: Collection[str | int],
) -> tuple[dict[str, ParamValue], list[Issue]]:
    """Convert one configuration to its parameters' types; return it with its problems."""
    out: dict[str, ParamValue] = {}
    problems: list[Issue] = []
    for name, value in entry.items():
        if name not in parameters:
            problems.append(_unknown(name, list(parameters)))
            continue
        try:
            check = fit if name in unknown_range else in_range
            out[name] = check(value, parameters[name])
        except NotFittingError as error:
            problems.append(Issue((name,), str(error)))
    return out, problems


def _check_entry(entry: Mapping[str, ParamValue], space: Space) -> list[Issue]:
    params_so_far = {**_pinned(space), **entry}
    for name in entry:
        for parent in space.parameters[name].when:
            if parent in params_so_far and not space.is_active(
                name, {**_permissive(space, name), **params_so_far}
            ):
                sentence = _no_meaning(
                    name, parent, written(params_so_far[parent]), space.parameters
                )
                return [Issue((name,), sentence)]
    if space.is_forbidden(params_so_far):
        return [Issue((), "is one of the forbidden combinations")]
    return []


def _pinned(space: Space) -> dict[str, ParamValue]:
    """Return the parameters that every trial has."""
    return {
        name: parameter.value
        for name, parameter in space.parameters.items()
        if isinstance(parameter, FixedParameter) and not parameter.when
    }


def _permissive(space: Space, name: str) -> dict[str, ParamValue]:
    """Return parents that the entry leaves open, with values that activate the parameter."""
    return {p: allowed[0] for p, allowed in space.parameters[name].when.items() if allowed}


def _no_meaning(name: str, parent: str, options: str, parameters: Mapping[str, Parameter]) -> str:
    condition = " and ".join(
        f"{other} is {listed(allowed)}" for other, allowed in parameters[name].when.items()
    )
    return f"has no meaning where {parent} is {options}; it is searched when {condition}"
