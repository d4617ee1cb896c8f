"""What a launch says of a sampler or pruner that cannot, or hardly, work with its study."""

from collections.abc import Iterator, Mapping

from tuner.errors import Issue
from tuner.study_file.code import USER_CODE_FAMILIES
from tuner.study_file.grid import Grid, NoGridError
from tuner.study_file.messages import counted, listed
from tuner.study_file.parameters import FixedParameter, FloatParameter, IntParameter
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.sampler_options import GeneticOptions, GridOptions
from tuner.study_file.space import Space
from tuner.study_file.study import Pruner, Sampler

# classes of Optuna that take no notice of pruned trials
COMPLETE_ONLY = tuple(
    f"optuna.samplers:{name}Sampler" for name in ("CmaEs", "GP", "NSGAII", "NSGAIII")
)
GRID_CLASSES = ("optuna.samplers:GridSampler", "optuna.samplers:BruteForceSampler")
NO_PRUNING = ("none", "optuna.pruners:NopPruner")


def wrong_sampler(sampler: Sampler, space: Space, objectives: int) -> Iterator[Issue]:
    """Yield why a sampler cannot search a space, with what would do."""
    loc = ("sampler", "name")
    if sampler.name == "grid":
        try:
            grid_of(sampler, space)
        except NoGridError as error:
            yield Issue(loc, f"grid {error}")
    if sampler.name == "cmaes":
        kinds = space.parameters.values()
        if not any(isinstance(parameter, FloatParameter | IntParameter) for parameter in kinds):
            yield Issue(
                loc, "cmaes needs a range to search and the space has none; choose tpe or random"
            )
        if objectives > 1:
            yield Issue(
                loc, f"cmaes optimizes one metric, not {objectives}; choose tpe, gp or nsga2"
            )


def wrong_classes(
    sampler: Sampler, pruner: Pruner, space: Space, objectives: int
) -> Iterator[Issue]:
    """Yield why classes that a study file names cannot work, as far as Optuna's are known."""
    if pruner.class_name is not None and objectives > 1:
        yield Issue(
            ("pruner", "class"),
            "Optuna's pruners compare one metric; with several, write rungs, hyperband or none",
        )
    if sampler.class_name == "optuna.samplers:CmaEsSampler" and objectives > 1:
        yield Issue(
            ("sampler", "class"), f"optimizes one metric, not {objectives}; choose tpe, gp or nsga2"
        )
    if sampler.class_name == "optuna.samplers:GridSampler":
        names = [n for n, p in space.parameters.items() if not isinstance(p, FixedParameter)]
        grid = sampler.options.get("search_space")
        if not isinstance(grid, Mapping) or grid.keys() != set(names):
            yield Issue(
                ("sampler", "options"),
                f"needs `search_space` with a list for each parameter that is searched: "
                f"{listed(names)}; or choose `sampler: grid`, which knows them",
            )


def grid_of(sampler: Sampler, space: Space) -> Grid:
    """Return the grid of a study whose sampler is `grid`; NoGridError."""
    options = sampler.checked_options
    assert isinstance(options, GridOptions)
    return Grid(space, options.points)


def notes_on_sampler(spec: ResolvedSpec) -> Iterator[str]:
    """Yield what may surprise about a sampler that works but teaches itself little."""
    sampler, trials, options = spec.sampler, spec.budget.trials, spec.sampler.checked_options
    if sampler.name == "grid" and sampler.reason is None:
        yield _note_on_grid(spec)
    if sampler.name == "cmaes" and spec.constraints:
        yield (
            "CMA-ES does not use `constraints`: it goes where values are best, feasible or not; "
            "choose `gp`, `tpe` or `nsga2`"
        )
    if sampler.class_name in COMPLETE_ONLY and spec.pruner.label not in NO_PRUNING:
        yield (
            f"{sampler.class_name} learns from complete trials only, and pruned ones teach it "
            "nothing: write `pruner: none`, or choose `gp` or `cmaes`, which learn from them too"
        )
    if not isinstance(options, GeneticOptions):
        return
    title, size = sampler.card.title, options.population_size
    if trials <= size:
        yield (
            f"{title} begins to learn after a generation of {size} complete trials, and the budget "
            f"is {counted(trials, 'trial')}: all are drawn at random; lower "
            "`sampler.options.population_size`, or choose `tpe` or `gp`"
        )
    if len(spec.objective.metrics) == 1:
        yield (
            f"{title} is made for several metrics; for one, `gp`, `tpe` and `cmaes` need fewer "
            "trials"
        )
    if spec.pruner.name != "none":
        yield (
            f"{title} learns from complete trials only, and pruned ones, which `pruner: "
            f"{spec.pruner.label}` makes of most, teach it nothing: write `pruner: none`, or "
            "choose `gp` or `tpe`, which learn from pruned trials too"
        )


def notes_on_promotion(spec: ResolvedSpec) -> Iterator[str]:
    """Yield what promoted trials of user code resume from."""
    if spec.pruner.resume and spec.family in USER_CODE_FAMILIES:
        place = "in `TUNER_CHECKPOINT`" if spec.family == "command" else "with `trial.checkpoint`"
        yield (
            f"`pruner.resume`: a promoted trial continues from what your code has saved {place}; "
            "if it saves nothing, it starts over at each promotion"
        )


def notes_on_fidelity(spec: ResolvedSpec) -> Iterator[str]:
    """Yield that a fidelity leaves no level at which trials could be compared."""
    fidelity = spec.budget.fidelity
    if fidelity is not None and spec.pruner.name == "none" and len(spec.fidelities) > 1:
        yield (
            "`pruner: none` ends no trial at a level of `budget.fidelity`: each trial goes through "
            "all of them; remove one of the two, or write `pruner: rungs`"
        )
    if fidelity is not None and len(spec.fidelities) == 1:
        yield (
            f"`budget.fidelity` has one level, {fidelity.high:g}, so each trial gets the whole at "
            f"once: write a `low` of at most {fidelity.high:g} / {spec.pruner.ratio}"
        )


def _note_on_grid(spec: ResolvedSpec) -> str:
    trials, size = spec.budget.trials, grid_of(spec.sampler, spec.space).size
    of = f"its grid has {counted(size, 'configuration')}"
    if size > trials:
        return (
            f"{of}, of which {counted(trials, 'trial')} (`budget.trials`) cover "
            f"{100 * trials / size:.2g} %"
        )
    if size == trials or spec.sampler.repeat:
        return of
    tried = "it has" if size == 1 else "all of them have"
    return f"{of}: the study ends once {tried} been tried, before {counted(trials, 'trial')}"
