"""The tables, in the schema `tuner` so that Optuna's own tables can live in the same database.

One row per trial. What changes with every report is in `reports`, so a trial's row is written when
it is claimed, when its lease is renewed (a HOT update: `lease_until` is in no index) and when it
ends.
"""

from collections.abc import Iterable

from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID
from sqlalchemy.types import UserDefinedType

from tuner.trials import Cause, StudyState, TrialState

SCHEMA = "tuner"


class Xid8(UserDefinedType[str]):
    """A 64-bit transaction id; sent and read as text."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """The type's name in SQL."""
        return "xid8"


def _one_of(column: str, values: Iterable[str]) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


def _timestamp() -> DateTime:
    return DateTime(timezone=True)


NOW = text("clock_timestamp()")
EMPTY = text("'{}'")
# Readers select rows with `changed` at or above the oldest transaction that was running when they
# last read: a transaction gets its id at its start, and this horizon is below every transaction
# whose commit they could have missed.
CHANGED = text("pg_current_xact_id()")

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    },
)

studies = Table(
    "studies",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("experiment", Text),  # NULL: the study is part of none
    Column("state", Text, nullable=False, server_default="active"),
    Column("reason", Text),  # why it is paused, stopped or finished
    Column("family", Text),  # NULL: made through Optuna's own API
    Column("spec", JSONB),  # the resolved study file
    Column("fingerprint", Text),  # of the data at launch
    Column("directions", ARRAY(Text), nullable=False),
    Column("metrics", ARRAY(Text), nullable=False, server_default=EMPTY),
    Column("max_trials", Integer),  # NULL: no limit
    Column("issued", Integer, nullable=False, server_default="0"),  # budget units given out
    Column("next_number", Integer, nullable=False, server_default="0"),
    Column("deadline", _timestamp()),  # no claim afterwards
    Column("trial_epochs", Integer),  # the most per trial: what a claim reserves
    Column("max_epochs", BigInteger),  # of all trials; NULL: no limit
    Column("epochs_issued", BigInteger, nullable=False, server_default="0"),
    Column("max_seconds", Double),  # of devices, of all attempts; NULL: no limit
    Column("seconds_issued", Double, nullable=False, server_default="0"),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("max_concurrent", Integer),  # trials that run at once; NULL: no limit
    Column("labels", JSONB, nullable=False, server_default=EMPTY),  # that a worker must have
    Column("claimed_at", _timestamp()),  # changes with every claim
    Column("revision", Integer, nullable=False, server_default="0"),  # grows with every change
    # attribute → its JSON as text: JSONB itself refuses NaN, infinities and NUL characters
    Column("user_attrs", JSONB, nullable=False, server_default=EMPTY),
    Column("system_attrs", JSONB, nullable=False, server_default=EMPTY),
    Column("created_at", _timestamp(), nullable=False, server_default=NOW),
    Column("finished_at", _timestamp()),
    Column("launched_by", Text),  # NULL: unknown
    CheckConstraint(_one_of("state", StudyState), name="state"),
    CheckConstraint("max_trials IS NULL OR issued <= max_trials", name="budget"),
    CheckConstraint("max_epochs IS NULL OR epochs_issued <= max_epochs", name="epochs"),
    CheckConstraint("max_seconds IS NULL OR seconds_issued <= max_seconds", name="seconds"),
    Index("studies_active", "id", postgresql_where=text("state = 'active'")),
)

# Sets of distributions: thousands of trials share a few, so each is stored and parsed once.
spaces = Table(
    "spaces",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column(
        "study_id",
        BigInteger,
        ForeignKey(studies.c.id, ondelete="CASCADE"),
        nullable=False,
    ),
    Column("digest", Text, nullable=False),  # SHA-256 of `distributions`
    Column("distributions", Text, nullable=False),  # JSON: [[name, Optuna's distribution], …]
    # The same in two arrays, for the views in Optuna's layout: a distribution of NaN choices is no
    # JSON to PostgreSQL, so these cannot be had from the text above.
    Column("names", ARRAY(Text), nullable=False),
    Column("texts", ARRAY(Text), nullable=False),  # each distribution as JSON
    UniqueConstraint("study_id", "digest"),
)

workers = Table(
    "workers",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("slots", Integer, nullable=False),  # trials at once
    Column("devices", ARRAY(Text), nullable=False),
    Column("version", Text, nullable=False),
    Column("labels", JSONB, nullable=False, server_default=EMPTY),
    Column("started_at", _timestamp(), nullable=False, server_default=NOW),
    Column("seen_at", _timestamp(), nullable=False, server_default=NOW),
    Column("stopped_at", _timestamp()),
    Column("drain_at", _timestamp()),  # somebody has asked it to stop
)

devices = Table(
    "devices",
    metadata,
    Column("worker_id", UUID, ForeignKey(workers.c.id, ondelete="CASCADE"), primary_key=True),
    Column("name", Text, primary_key=True),  # cpu, cuda:3
    Column("model", Text, nullable=False),
    Column("memory", BigInteger, nullable=False),  # bytes
)

# How devices were doing, one row per device and sample; removed after a day.
device_samples = Table(
    "device_samples",
    metadata,
    Column("worker_id", UUID, primary_key=True),
    Column("device", Text, primary_key=True),
    Column("at", _timestamp(), primary_key=True, server_default=NOW),
    Column("utilization", REAL),  # 0 to 1
    Column("memory_used", BigInteger),  # bytes
    Column("temperature", REAL),  # °C
    Column("power", REAL),  # W
    ForeignKeyConstraint(
        ["worker_id", "device"], [devices.c.worker_id, devices.c.name], ondelete="CASCADE"
    ),
    Index(None, "at"),
)

trials = Table(
    "trials",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column(
        "study_id",
        BigInteger,
        ForeignKey(studies.c.id, ondelete="CASCADE"),
        nullable=False,
    ),
    Column("number", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("space_id", BigInteger),  # of `spaces`; no foreign key, for that would cost an index
    # Optuna's internal representation, in the order of the space's distributions
    Column("params", ARRAY(Double), nullable=False, server_default=EMPTY),
    Column("origin", JSONB),  # how they were proposed; NULL: not known
    Column("objective_values", ARRAY(Double)),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("worker_id", UUID),  # no foreign key: a worker's row may be cleared away
    Column("lease_until", _timestamp()),
    Column("claim_key", UUID),  # claiming again with the same key gives the same trial
    Column("cause", Text),
    Column("message", Text),
    Column("log_tail", Text),
    Column("user_attrs", JSONB, nullable=False, server_default=EMPTY),
    Column("system_attrs", JSONB, nullable=False, server_default=EMPTY),
    Column("created_at", _timestamp(), nullable=False, server_default=NOW),
    Column("started_at", _timestamp()),
    Column("finished_at", _timestamp()),
    Column("changed", Xid8(), nullable=False, server_default=CHANGED),
    # charged to the study's epochs: while the trial is open, all that it may train; once it has
    # ended, those it reported; NULL if the study does not count them
    Column("epochs", Integer),
    Column("seconds", Double, nullable=False, server_default="0"),  # of its attempts that ended
    # if the study counts seconds: until when those of the running attempt are reserved
    Column("paid_until", _timestamp()),
    UniqueConstraint("study_id", "number"),
    CheckConstraint(_one_of("state", TrialState), name="state"),
    CheckConstraint(_one_of("cause", Cause), name="cause"),
    Index(None, "study_id", "changed"),
    Index(
        "trials_open",
        "study_id",
        "state",
        "number",
        postgresql_where=text("state IN ('waiting', 'running')"),
    ),
    Index("trials_paused", "study_id", postgresql_where=text("state = 'paused'")),
    postgresql_with={
        "fillfactor": "70",
        "autovacuum_vacuum_scale_factor": "0.02",
        "autovacuum_vacuum_cost_delay": "0",
    },
)

reports = Table(
    "reports",
    metadata,
    Column("trial_id", BigInteger, ForeignKey(trials.c.id, ondelete="CASCADE"), primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("value", Double, nullable=False),  # the objective's metric
    Column("metrics", JSONB),  # other metrics; NULL for values that are not finite
    Column("reported_at", _timestamp(), nullable=False, server_default=NOW),
)

# Attempts that ended without a result and were followed by another one. A trial's latest attempt is
# in its own row, so the usual trial, which needs one attempt, costs nothing here.
attempts = Table(
    "attempts",
    metadata,
    Column("trial_id", BigInteger, ForeignKey(trials.c.id, ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("worker_id", UUID),
    Column("cause", Text, nullable=False),  # `paused`: it ended at a rung and was promoted later
    Column("message", Text),
    Column("log_tail", Text),
    Column("started_at", _timestamp()),
    Column("ended_at", _timestamp(), nullable=False, server_default=NOW),
    CheckConstraint(_one_of("cause", [*Cause, TrialState.PAUSED]), name="cause"),
)

ROLES = "role IN ('viewer', 'operator', 'admin')"

accounts = Table(
    "accounts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("password", Text, nullable=False),  # hashed with argon2
    Column("role", Text, nullable=False),
    Column("created_at", _timestamp(), nullable=False, server_default=NOW),
    CheckConstraint(ROLES, name="role"),
)

# Sessions of browsers and tokens of programs; a revoked one has no row.
tokens = Table(
    "tokens",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column(
        "account_id",
        BigInteger,
        ForeignKey(accounts.c.id, ondelete="CASCADE"),
        nullable=False,
    ),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),  # SHA-256 of the secret
    Column("role", Text, nullable=False),  # the most; the account's role limits it, too
    Column("created_at", _timestamp(), nullable=False, server_default=NOW),
    Column("expires_at", _timestamp(), nullable=False),
    Column("used_at", _timestamp()),
    CheckConstraint("kind IN ('session', 'api')", name="kind"),
    CheckConstraint(ROLES, name="role"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _timestamp(), nullable=False, server_default=NOW),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("detail", Text, nullable=False, server_default=""),
)

# What a study has learned from others at its launch; a row only for studies that did.
warm_starts = Table(
    "warm_starts",
    metadata,
    Column("study_id", BigInteger, ForeignKey(studies.c.id, ondelete="CASCADE"), primary_key=True),
    Column("content", Text, nullable=False),  # JSON; text, for it may hold NaN
)

notes = Table(
    "notes",
    metadata,
    Column("study_id", BigInteger, ForeignKey(studies.c.id, ondelete="CASCADE"), primary_key=True),
    Column("text", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("revision", Integer, nullable=False, server_default="1"),
    Column("updated_at", _timestamp(), nullable=False, server_default=NOW),
)
