"""A study file and its family's default search space → ResolvedSpec, with nothing left open.

Everything that is wrong is found in one go and raised as one SpecError with an issue each; the
Source of the file turns these into lines (`Source.locating`).
"""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from pydantic import ValidationError

from tuner.errors import Issue, SpecError
from tuner.study_file.arguments import OPTIONS, change_form, wrong_placeholders
from tuner.study_file.code import OWN, Code, wrong_names
from tuner.study_file.fit import NotFittingError, fit, in_range, numeric
from tuner.study_file.limits import Limit, outside
from tuner.study_file.merge import merged
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
from tuner.study_file.space import MAX_CELLS, Range, Space
from tuner.study_file.study import METRICS, Pruner, StudySpec
from tuner.trials import COSTS, ParamValue


def check_family(spec: StudySpec, families: Sequence[str]) -> None:
    """SpecError if the study's family is none of the installed ones."""
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
    also: Mapping[str, Sequence[ParamValue]] = MappingProxyType({}),
) -> ResolvedSpec:
    """Merge the file's `search` over the family's default space and check what hangs together.

    `metrics` are the family's, the first of which is the default, as `epochs` is of the budget and
    `min_epochs` of the pruner. Families of own code have none of these: the file says it all.
    `costs` are what tuner itself measures of such a family's trials, `limits` what its parameters
    can be at all, `also` choices that it knows besides those of the default space.
    """
    found: list[Issue] = []
    parameters = _parameters(spec, default, also, limits, found)
    code = _code(spec, parameters, found)
    objective = _objective(spec, metrics, costs, found)
    epochs = spec.budget.epochs or epochs
    budget: ResolvedBudget | None = None
    try:
        budget = ResolvedBudget.model_validate({**spec.budget.model_dump(), "epochs": epochs})
    except ValidationError as error:
        found.extend(i._replace(loc=("budget", *i.loc)) for i in issues(error, ResolvedBudget))
    pruner = _pruner(spec, found)
    if "min_epochs" not in pruner.model_fields_set:
        pruner = pruner.model_copy(update={"min_epochs": min(min_epochs, epochs or min_epochs)})
    longest = epochs or spec.pruner.min_epochs
    if pruner.name != "none" and spec.pruner.min_epochs > longest:
        sentence = f"must be at most budget.epochs ({epochs}), is {spec.pruner.min_epochs}"
        found.append(Issue(("pruner", "min_epochs"), sentence))
    _check_conditions(spec, parameters, default, found)
    _check_reachable(spec, parameters, found)
    forbidden = _forbidden(spec, parameters, default, found)
    space: Space | None = None
    if not found:
        try:
            space = Space(parameters=parameters, forbidden=forbidden)
        except ValidationError as error:
            found.extend(issues(error, Space))
    enqueue = _enqueue(spec, parameters, space, found)
    if found or space is None or objective is None or budget is None:
        raise SpecError(issues=found)
    return ResolvedSpec(
        name=spec.name,
        family=spec.family,
        data=spec.data,
        code=code,
        objective=objective,
        budget=budget,
        space=space,
        sampler=spec.sampler,
        pruner=pruner,
        training=spec.training,
        resources=spec.resources,
        confirm=spec.confirm,
        seed=spec.seed,
        enqueue=enqueue,
    )


def _code(spec: StudySpec, parameters: Mapping[str, Parameter], found: list[Issue]) -> Code | None:
    """The file's own code, and what is wrong in a file that has some; None for other families."""
    if spec.family not in OWN:
        return None
    if not spec.search:
        sentence = f"is missing; `family: {spec.family}` has no search space but the file's"
        found.append(Issue(("search",), sentence))
    found.extend(wrong_names(spec.search))
    if spec.command is not None:
        found.extend(wrong_placeholders(spec.command, parameters))
    for name in ("early_stop", "precision"):
        if getattr(spec.training, name) != type(spec.training).model_fields[name].default:
            sentence = f"has no meaning with `family: {spec.family}`; remove it"
            found.append(Issue(("training", name), sentence))
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
    found: list[Issue],
) -> dict[str, Parameter]:
    """The merged parameters; one that cannot be merged stays as the family has it."""
    out: dict[str, Parameter] = dict(default)
    for name, given in spec.search.items():
        if name not in default and spec.family not in OWN:
            found.append(_unknown(name, list(default), "search"))
            continue
        made = merged(given, default.get(name), also.get(name, ()))
        if not isinstance(made, list):
            out[name] = made
            made = list(outside(made, limits[name])) if name in limits else []
        found.extend(issue._replace(loc=("search", name, *issue.loc)) for issue in made)
    return out


def _objective(
    spec: StudySpec, metrics: Sequence[str], costs: Sequence[str], found: list[Issue]
) -> ResolvedObjective | None:
    names, given = spec.objective.metric or tuple(metrics[:1]), spec.objective.direction
    before = len(found)
    if not names:
        sentence = "is missing; name the metric that your code reports"
        found.append(Issue(("objective", "metric"), sentence))
    if given is not None and len(given) != len(names):
        sentence = f"must have one for each of the {len(names)} metrics, has {len(given)}"
        found.append(Issue(("objective", "direction"), sentence))
    for place, name in enumerate(names):
        loc = ("objective", "metric", place)
        allowed = [*metrics, *costs] if place else metrics
        if name in names[:place]:
            found.append(Issue(loc, f"{quoted(name)} is named twice"))
        elif place == 0 and name in COSTS:
            sentence = f"{quoted(name)} is no metric of a trial's epochs; name one of these first"
            found.append(Issue(loc, sentence))
        elif metrics and name not in allowed:
            found.append(Issue(loc, one_of(name, allowed)))
        elif given is None and name not in METRICS:
            sentence = f"is missing; {quoted(name)} has no usual one: write maximize or minimize"
            found.append(Issue(("objective", "direction"), sentence))
    if len(found) > before:
        return None
    directions = given or [METRICS[name] for name in names]
    first, *others = (
        SecondaryObjective(metric=name, direction=direction)
        for name, direction in zip(names, directions, strict=True)
    )
    return ResolvedObjective(
        metric=first.metric, direction=first.direction, secondary=tuple(others)
    )


def _pruner(spec: StudySpec, found: list[Issue]) -> Pruner:
    """The file's, and none with several metrics: who is worse in one may be better in another."""
    if len(spec.objective.metric or ()) < 2:
        return spec.pruner
    if "pruner" in spec.model_fields_set and spec.pruner.name != "none":
        sentence = "must be none, or left out, where there are several metrics"
        found.append(Issue(("pruner", "name"), sentence))
    return Pruner(name="none")


def _family_kind(
    name: str, parameters: Mapping[str, Parameter], default: Mapping[str, Parameter]
) -> Parameter:
    """What decides which values are possible: the family's default, not the file's narrowing."""
    return default.get(name, parameters[name])


def _check_conditions(
    spec: StudySpec,
    parameters: Mapping[str, Parameter],
    default: Mapping[str, Parameter],
    found: list[Issue],
) -> None:
    for name, given in spec.search.items():
        for parent, allowed in (given.when or {}).items():
            loc = ("search", name, "when")
            if parent not in parameters:
                found.append(_unknown(parent, list(parameters), *loc))
                continue
            if name in default and default[name].when.get(parent) == allowed:
                continue  # the family's own, which other data may have made impossible
            if parent not in default and isinstance(parameters[parent], FixedParameter):
                continue  # of own code: what it takes where it is not pinned is not known
            issues: list[Issue] = []
            for index, value in enumerate(allowed):
                try:
                    fit(value, _family_kind(parent, parameters, default))
                except NotFittingError as error:
                    issues.append(Issue((*loc, parent, index), str(error)))
            if not issues and (sentence := _never(allowed, parameters[parent])) is not None:
                issues.append(Issue((*loc, parent), sentence))
            found += issues


def _never(allowed: Sequence[ParamValue], parent: Parameter) -> str | None:
    """Why a range has none of the values, so that a condition on them never holds; else None."""
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
    spec: StudySpec, parameters: Mapping[str, Parameter], found: list[Issue]
) -> None:
    """Refuse what the file says of a parameter that by the family's condition no trial has."""
    for name, given in spec.search.items():
        if name not in parameters or given.when is not None:
            continue
        for parent, allowed in parameters[name].when.items():
            options = values(parameters[parent], MAX_CELLS)
            reachable = [canonical(value, parameters[parent]) for value in allowed]
            if options is not None and not any(among(value, reachable) for value in options):
                sentence = _no_meaning(name, parent, listed(options), parameters)
                found.append(Issue(("search", name), sentence))


def _forbidden(
    spec: StudySpec,
    parameters: Mapping[str, Parameter],
    default: Mapping[str, Parameter],
    found: list[Issue],
) -> tuple[dict[str, Range | tuple[ParamValue, ...]], ...]:
    for index, combination in enumerate(spec.forbidden):
        for name, rule in combination.items():
            loc = ("forbidden", index)
            if name not in parameters:
                found.append(_unknown(name, list(parameters), *loc))
                continue
            if name not in default and isinstance(parameters[name], FixedParameter):
                continue
            kind = _family_kind(name, parameters, default)
            if isinstance(rule, Range):
                if not numeric(kind):
                    sentence = (
                        f"{quoted(name)} is no number, so `above` and `below` have no meaning"
                    )
                    found.append(Issue((*loc, name), sentence))
                continue
            for position, value in enumerate(rule):
                try:
                    fit(value, kind)
                except NotFittingError as error:
                    found.append(Issue((*loc, name, position), str(error)))
    return spec.forbidden


def fitted(space: Space, params: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
    """A configuration to try next, every value of its parameter's type; SpecError if impossible."""
    out, found = _entry(params, space.parameters, frozenset())
    if not found:
        found = _check_entry(out, space)
    if found:
        raise SpecError(issues=found)
    return out


def fitting(params: Mapping[str, ParamValue], space: Space) -> dict[str, ParamValue]:
    """What a study with this space could draw of a configuration; nothing where it forbids that."""
    out: dict[str, ParamValue] = {}
    known = _pinned(space)
    for name, parameter in space.parameters.items():
        if name not in params or name in known or not space.is_active(name, known):
            continue
        try:
            known[name] = out[name] = in_range(params[name], parameter)
        except NotFittingError:
            continue
    return {} if space.is_forbidden(known) else out


def _enqueue(
    spec: StudySpec,
    parameters: Mapping[str, Parameter],
    space: Space | None,
    found: list[Issue],
) -> tuple[dict[str, ParamValue], ...]:
    """The configurations to try first, every value of its parameter's type."""
    out: list[dict[str, ParamValue]] = []
    # nobody knows the range that was meant where the merge has failed
    unknown_range = {issue.loc[1] for issue in found if issue.loc[0] == "search" and issue.loc[1:]}
    for index, entry in enumerate(spec.enqueue):
        made, wrong = _entry(entry, parameters, unknown_range)
        if space is not None and not wrong:
            wrong = _check_entry(made, space)
        found.extend(issue._replace(loc=("enqueue", index, *issue.loc)) for issue in wrong)
        out.append(made)
    return tuple(out)


def _entry(
    entry: Mapping[str, ParamValue],
    parameters: Mapping[str, Parameter],
    unknown_range: Collection[str | int],
) -> tuple[dict[str, ParamValue], list[Issue]]:
    """One configuration with every value in its parameter's type, and what is wrong with it."""
    out: dict[str, ParamValue] = {}
    found: list[Issue] = []
    for name, value in entry.items():
        if name not in parameters:
            found.append(_unknown(name, list(parameters)))
            continue
        try:
            check = fit if name in unknown_range else in_range
            out[name] = check(value, parameters[name])
        except NotFittingError as error:
            found.append(Issue((name,), str(error)))
    return out, found


def _check_entry(entry: Mapping[str, ParamValue], space: Space) -> list[Issue]:
    known = {**_pinned(space), **entry}
    for name in entry:
        for parent in space.parameters[name].when:
            if parent in known and not space.is_active(name, {**_permissive(space, name), **known}):
                sentence = _no_meaning(name, parent, written(known[parent]), space.parameters)
                return [Issue((name,), sentence)]
    if space.is_forbidden(known):
        return [Issue((), "is one of the forbidden combinations")]
    return []


def _pinned(space: Space) -> dict[str, ParamValue]:
    """What every trial has."""
    return {
        name: parameter.value
        for name, parameter in space.parameters.items()
        if isinstance(parameter, FixedParameter) and not parameter.when
    }


def _permissive(space: Space, name: str) -> dict[str, ParamValue]:
    """Parents that the entry leaves open, with values under which the parameter is searched."""
    return {p: allowed[0] for p, allowed in space.parameters[name].when.items() if allowed}


def _no_meaning(name: str, parent: str, shown: str, parameters: Mapping[str, Parameter]) -> str:
    condition = " and ".join(
        f"{other} is {listed(allowed)}" for other, allowed in parameters[name].when.items()
    )
    return f"has no meaning where {parent} is {shown}; it is searched when {condition}"
