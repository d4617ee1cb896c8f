"""Which sampler `sampler: auto` is for a study: decided at its launch, and then stored."""

from typing import NamedTuple

from tuner.study_file.grid import Grid, NoGridError
from tuner.study_file.messages import counted
from tuner.study_file.samplers import SAMPLERS, SamplerName
from tuner.study_file.space import Space
from tuner.study_file.study import Budget, Pruner, Sampler, SamplerSection

TINY = 30  # configurations: a model would have chosen among the last few only
MANY_TRIALS = 1_000  # with several metrics, from which a genetic algorithm finds a better front


class Choice(NamedTuple):
    """A sampler, and why it was chosen."""

    name: SamplerName
    reason: str


def choose(
    space: Space, *, objectives: int, budget: Budget, pruner: Pruner, repeat: bool = False
) -> Choice:
    """Choose the sampler of a study.

    The number of workers makes no difference: the Gaussian process spreads out the trials of any
    number. Nor does a budget that ends before it has learned: its first trials are as good as any,
    and it learns once the budget is raised.

    Args:
        space: The search space.
        objectives: The number of metrics that are optimized.
        budget: When the study ends.
        pruner: When trials end early.
        repeat: Whether configurations are repeated once all of a small space have been tried.

    """
    trials = budget.trials
    cells = space.cells(min(trials, TINY))
    if cells is not None and not repeat and not _may_end_early(budget) and _has_grid(space):
        return Choice(
            "grid",
            f"the space has {counted(len(cells), 'configuration')}, and the budget is "
            f"{counted(trials, 'trial')}",
        )
    if objectives > 1 and trials > MANY_TRIALS and pruner.name == "none":
        return Choice(
            "nsga2", f"with {objectives} metrics, generations improve throughout {trials:,} trials"
        )
    return Choice("gp", "it learns the most from few trials, pruned and running ones included")


def _may_end_early(budget: Budget) -> bool:
    """Whether a study may end before all its trials have run, so that the best should come first.

    A limit of devices or epochs counts too.
    """
    limits = ("hours", "total_epochs", "gpu_seconds", "target", "patience")
    return any(getattr(budget, name) is not None for name in limits)


def _has_grid(space: Space) -> bool:
    try:
        Grid(space, None)
    except NoGridError:
        return False
    return True


def describe(name: str, reason: str | None) -> str:
    """Return a phrase about the sampler of a study, and why it was chosen if `auto` chose it."""
    card = next((card for known, card in SAMPLERS.items() if known == name), None)
    title = name if card is None else card.title
    return title if reason is None else f"{title}, chosen automatically: {reason}"


def settle(section: SamplerSection, choice: Choice) -> Sampler:
    """Return the sampler that a study file means: the one that it names, or else the choice."""
    settings = section.model_dump(exclude_unset=True)
    if section.name == "auto":
        settings |= {"name": choice.name, "reason": choice.reason}
    return Sampler.model_validate(settings)
