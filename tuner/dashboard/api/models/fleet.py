"""Workers and the audit log as the REST API returns them."""

from pydantic import Field

from tuner.dashboard.api.models import Record, Text, Time


class SampleRecord(Record):
    """A measurement of a device; null where it cannot be measured."""

    utilization: float | None = Field(description="From 0 to 1.")
    memory_used: int | None = Field(description="Bytes.")
    temperature: float | None = Field(description="°C.")
    power: float | None = Field(description="Watts.")
    at: Time | None = Field(description="When it was measured (UTC).")


class DeviceRecord(Record):
    """A worker's device."""

    name: Text = Field(description="Such as cpu or cuda:3.")
    model: Text = Field(description="The device's model.")
    memory: int = Field(description="Its whole memory, in bytes.")
    latest: SampleRecord | None = Field(description="The latest measurement.")


class RunningTrial(Record):
    """A trial that a worker is running."""

    study_id: int = Field(description="The study's id.")
    study: Text = Field(description="The study's name.")
    number: int = Field(description="The trial's number.")
    attempt: int = Field(description="The attempt's number, from 1.")
    started_at: Time | None = Field(description="When the attempt started (UTC).")


class WorkerRecord(Record):
    """A worker that is alive, or was within the last day."""

    id: Text = Field(description="The worker's UUID.")
    host: Text = Field(description="The name of its machine.")
    pid: int = Field(description="Its process id.")
    slots: int = Field(description="How many trials it runs at once.")
    devices: list[DeviceRecord] = Field(description="Its devices.")
    running: list[RunningTrial] = Field(description="The trials it is running.")
    version: Text = Field(description="Its version of tuner.")
    labels: dict[str, Text] = Field(description="Its labels.")
    started_at: Time = Field(description="When it started (UTC).")
    seen_at: Time = Field(description="When it was last alive (UTC).")
    stopped_at: Time | None = Field(description="When it ended by itself (UTC).")
    drain_at: Time | None = Field(description="When it was asked to stop (UTC).")
    alive: bool = Field(description="Whether it is alive.")


class Workers(Record):
    """The workers."""

    workers: list[WorkerRecord] = Field(description="The workers, those alive first.")


class DrainingWorker(Record):
    """A worker that was asked to stop."""

    draining: Text = Field(description="The worker's UUID.")


class AuditEntry(Record):
    """A request that could have changed something."""

    id: int = Field(description="Identifies the entry; later entries have greater ids.")
    at: Time = Field(description="When it was handled (UTC).")
    actor: Text = Field(description="The user; `nobody`: a stranger.")
    action: Text = Field(description="Method and path, such as POST /studies/3/pause.")
    status: int = Field(description="HTTP's status code; below 400: it was done.")
    detail: Text = Field(description="What was done.")


class AuditLog(Record):
    """A page of the audit log."""

    entries: list[AuditEntry] = Field(description="The entries, the latest first.")
