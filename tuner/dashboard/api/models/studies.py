"""Studies as the REST API returns them."""

from typing import Any

from pydantic import Field

from tuner.dashboard.api.models import Record, Text, Time
from tuner.trials import Direction, StudyState, TrialState


class BestTrial(Record):
    """The best complete trial so far."""

    trial: int = Field(description="The trial's number.")
    value: float | None = Field(description="Its value of the first objective.")


class StudyRecord(Record):
    """A study without its specification, as lists contain it."""

    id: int = Field(description="Identifies the study in paths.")
    name: Text = Field(description="The study's name.")
    state: StudyState = Field(description="Whether workers may claim its trials.")
    reason: Text | None = Field(description="Why it is paused, stopped or finished.")
    family: Text | None = Field(description="The model family; null: made through Optuna.")
    directions: list[Direction] = Field(description="One per objective.")
    metrics: list[Text] = Field(description="The objectives' names.")
    counts: dict[TrialState, int] = Field(description="Number of trials by state.")
    best: BestTrial | None = Field(description="Null until a trial is complete.")
    training_seconds: float = Field(description="Training time of all trials, in seconds.")
    max_trials: int | None = Field(description="Budget of trials; null: no limit.")
    issued: int = Field(description="How many trials of the budget are used or reserved.")
    max_epochs: int | None = Field(description="Budget of epochs over all trials; null: no limit.")
    epochs_issued: int = Field(description="How many epochs are used or reserved.")
    max_seconds: float | None = Field(
        description="Budget of seconds on devices over all trials; null: no limit."
    )
    seconds_issued: float = Field(description="How many seconds on devices are used or reserved.")
    priority: int = Field(description="Workers serve studies of a higher priority first.")
    max_concurrent: int | None = Field(
        description="How many trials may run at once; null: no limit."
    )
    labels: dict[str, Text] = Field(description="Labels that a worker must have.")
    revision: int = Field(description="Grows when the specification or limits change.")
    data_fingerprint: Text | None = Field(description="Digest of the prepared data.")
    experiment: Text | None = Field(
        description="The experiment that compares this study with studies of other families."
    )
    launched_by: Text | None = Field(description="The user who launched it.")
    created_at: Time | None = Field(description="When it was launched (UTC).")
    finished_at: Time | None = Field(description="When it ended (UTC).")
    user_attrs: dict[str, Any] = Field(description="Attributes set through Optuna's API.")


class FullStudyRecord(StudyRecord):
    """A study with its specification."""

    spec: dict[str, Any] | None = Field(
        description="The resolved study file; null: made through Optuna."
    )


class StudyList(Record):
    """A page of studies, the newest first."""

    total: int = Field(description="How many studies match, on all pages.")
    studies: list[StudyRecord] = Field(description="The studies on this page.")


class CheckResult(Record):
    """Whether a study file could be launched."""

    problems: list[Text] = Field(description="What is wrong, one line each; empty if it is valid.")
    facts: list[Text] = Field(description="What it searches and what it will cost, if valid.")


class ChangedStudy(FullStudyRecord):
    """A study after a change of its limits."""

    changes: list[Text] = Field(description="What has changed, as `name: before → after`.")
    notes: list[Text] = Field(description="What follows from the change.")


class QueuedTrial(Record):
    """A configuration that was queued."""

    trial: int = Field(description="The number of the trial that will run it.")


class RetriedTrials(Record):
    """Failed trials that were queued again."""

    trials: list[int] = Field(description="Their numbers.")


class LeadingTrial(Record):
    """A trial among the best."""

    trial: int = Field(description="The trial's number.")
    value: float | None = Field(description="Its value of the first objective.")
    params: dict[str, Any] = Field(description="All parameters, pinned ones included.")


class Leaders(Record):
    """The best complete trials."""

    metric: Text = Field(description="The first objective's name.")
    direction: Direction = Field(description="The first objective's direction.")
    trials: list[LeadingTrial] = Field(description="The best trials, the best first.")


class LearnedFromRecord(Record):
    """An earlier study that a study has learned from; fixed at its launch, except the weight."""

    study: Text = Field(description="The earlier study's name at that launch.")
    trials: int = Field(description="How many of its trials were kept.")
    total: int = Field(description="How many of its trials had a value.")
    portfolio: list[int] = Field(description="Which of its trials are tried first, by number.")
    weight: float | None = Field(
        description="From 0 to 1, how well it ranks the trials of the study so far; null: unknown."
    )
    differences: list[Text] = Field(description="How the search spaces differ, in clauses.")


class NoteRecord(Record):
    """A study's note."""

    text: Text = Field(description="The note, as Markdown.")
    author: Text | None = Field(description="The user who wrote it last.")
    revision: int = Field(description="Grows with every edit; 0: there is no note.")
    updated_at: Time | None = Field(description="When it was written last (UTC).")


class DeletedStudy(Record):
    """A study that was deleted."""

    deleted: Text = Field(description="The study's name.")
