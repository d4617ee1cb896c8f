"""Trials as the REST API returns them."""

from typing import Any

from pydantic import Field

from tuner.dashboard.api.models import Record, Text, Time
from tuner.trials import Cause, TrialState


class ReportRecord(Record):
    """What a trial reported after an epoch."""

    step: int = Field(description="Finished epochs, from 1.")
    value: float | None = Field(description="The objective on the validation part.")
    metrics: dict[str, float | None] = Field(description="Everything else that was measured.")


class AttemptRecord(Record):
    """One attempt at a trial."""

    number: int = Field(description="The trial's number.")
    attempt: int = Field(description="The attempt's number, from 1.")
    cause: Cause | None = Field(
        description="Why it ended without a result; null: it is running, or has a result."
    )
    message: Text | None = Field(description="What went wrong, in one sentence.")
    log_tail: Text | None = Field(description="The last lines of its output.")
    started_at: Time | None = Field(description="When it started (UTC).")
    ended_at: Time | None = Field(description="When it ended (UTC).")
    worker_id: Text | None = Field(description="The id of the worker that ran it.")
    worker: Text | None = Field(description="That worker, as host:pid.")


class TrialRecord(Record):
    """A trial with its reports and attempts."""

    id: int = Field(description="Identifies the trial in the database.")
    number: int = Field(description="The trial's number within its study, from 0.")
    state: TrialState = Field(description="The trial's state.")
    params: dict[str, Any] = Field(description="The searched parameters.")
    values: list[float | None] | None = Field(
        description="One per objective; a pruned trial has its last report."
    )
    reports: list[ReportRecord] = Field(description="Its reports, the first one first.")
    attempt: int = Field(description="How often it was claimed.")
    worker: Text | None = Field(description="The worker of the latest attempt, as host:pid.")
    cause: Cause | None = Field(description="Why the trial failed.")
    message: Text | None = Field(description="What went wrong, or why it was pruned.")
    log_tail: Text | None = Field(description="The last lines of the failed attempt's output.")
    created_at: Time | None = Field(description="When it was created (UTC).")
    started_at: Time | None = Field(description="When its latest attempt started (UTC).")
    finished_at: Time | None = Field(description="When it ended (UTC).")
    seconds: float | None = Field(description="Duration of the latest attempt, in seconds.")
    user_attrs: dict[str, Any] = Field(description="Attributes that the worker or user code set.")
    origin: dict[str, Any] | None = Field(
        description="How it was proposed: its `kind` (random, quasi-random, grid, model, enqueued, "
        "default, portfolio, repeated, promoted or imported), and what is known of `sampler`, "
        "`reason`, `learned_from` (trials), `predicted` (value), `gain`, `thompson`, `study` and "
        "`trial`. Null: not known."
    )
    violates_constraint: bool = Field(
        description="Whether it violates a constraint; such a trial is never the best."
    )
    constraints: dict[str, float | None] = Field(
        description="Its constraints; above 0, one is violated, in shares of its bound."
    )
    attempts: list[AttemptRecord] = Field(description="All its attempts, the first one first.")


class LogPart(Record):
    """A part of an attempt's log."""

    text: Text = Field(description="The part, as text that is safe to show.")
    start: int = Field(description="The byte where the part begins.")
    end: int = Field(description="The byte where the next part begins.")
    size: int = Field(description="Bytes of the whole log so far.")
    running: bool = Field(description="Whether the attempt is running, so that more may come.")
