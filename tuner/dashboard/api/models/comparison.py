"""A comparison of studies as the REST API returns it."""

from pydantic import Field

from tuner.dashboard.api.models import Record, Text
from tuner.trials import Direction


class ImprovementRecord(Record):
    """The best value after some trials have ended."""

    ended: int = Field(description="Finished trials.")
    trained: float = Field(description="Their training time together, in seconds.")
    passed: float = Field(description="Seconds since the first trial started.")
    best: float = Field(description="The best value so far.")


class CostPointRecord(Record):
    """The best value for a cost: no cheaper trial has reached it."""

    trial: int = Field(description="The trial's number.")
    cost: float = Field(description="What the trial cost, in the unit that `costs` names.")
    best: float = Field(description="The trial's value.")


class ComparedStudyRecord(Record):
    """A study beside others."""

    id: int = Field(description="The study's id.")
    name: Text = Field(description="The study's name.")
    family: Text | None = Field(description="The model family; null: made through Optuna.")
    metric: Text = Field(description="The first objective's name.")
    direction: Direction = Field(description="The first objective's direction.")
    best: float | None = Field(description="The best value.")
    best_trial: int | None = Field(description="The number of the best trial.")
    best_quarter: float | None = Field(
        description="The value that the best quarter of the complete trials reaches."
    )
    median: float | None = Field(description="The complete trials' median value.")
    trials: int = Field(description="Finished trials.")
    pruned: float | None = Field(description="Share of the finished trials that were pruned.")
    seconds: float = Field(description="Training time of all trials, in seconds.")
    seconds_a_trial: float | None = Field(description="Mean training time per trial, in seconds.")
    seconds_to_99_percent: float | None = Field(
        description=(
            "Training time, in seconds, until the study had come 99 % of the way from the first "
            "value to the best of all studies."
        )
    )
    improving: list[ImprovementRecord] = Field(description="Where the best value improved.")
    paid: dict[str, list[CostPointRecord]] = Field(
        description="By measured cost: the best value for each cost, the cheapest first."
    )


class ComparisonRecord(Record):
    """Studies side by side."""

    studies: list[ComparedStudyRecord] = Field(description="In the order of the request.")
    costs: dict[str, Text] = Field(description="The costs in `paid`, with unit and meaning.")
    warning: Text = Field(description="Why the comparison may mislead; empty if it does not.")
