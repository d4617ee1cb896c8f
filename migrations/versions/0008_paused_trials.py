"""Trials that are paused at a rung until the pruner promotes them.

Optuna has no such state: in its layout they wait, with their reports.

Revision: 0008
Follows: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

STATES = ["waiting", "running", "complete", "pruned", "failed"]
CAUSES = ["user_error", "out_of_memory", "diverged", "timeout", "lost", "preempted", "killed"]

# each view with what it reads of a paused trial: neither an end nor a result, for it has neither
VIEWS = {
    "trials": """
        SELECT id AS trial_id, number, study_id,
               CAST(CASE state WHEN 'failed' THEN 'FAIL' {state}ELSE upper(state) END
                    AS optuna.trialstate) AS state,
               started_at AT TIME ZONE 'UTC' AS datetime_start,
               {finished} AT TIME ZONE 'UTC' AS datetime_complete
        FROM tuner.trials
    """,
    "trial_values": """
        SELECT (t.id << 16) | v.position AS trial_value_id, t.id AS trial_id,
               CAST(v.position - 1 AS integer) AS objective,
               CASE WHEN abs(v.value) = 'infinity' THEN NULL ELSE v.value END AS value,
               CAST(CASE v.value WHEN 'infinity' THEN 'INF_POS' WHEN '-infinity' THEN 'INF_NEG'
                    ELSE 'FINITE' END AS optuna.trialvaluetype) AS value_type
        FROM tuner.trials t,
             unnest(t.objective_values) WITH ORDINALITY AS v(value, position)
        {where}
    """,
}


def _views(**parts: str) -> None:
    for name, query in VIEWS.items():
        op.execute(f"CREATE OR REPLACE VIEW optuna.{name} AS {query.format(**parts)}")


def _check(table: str, column: str, values: list[str]) -> None:
    name = op.f(f"{table}_{column}_check")
    op.drop_constraint(name, table, schema="tuner")
    listed = ", ".join(map(repr, values))
    op.create_check_constraint(name, table, f"{column} IN ({listed})", schema="tuner")


def upgrade() -> None:
    _check("trials", "state", [*STATES, "paused"])
    _check("attempts", "cause", [*CAUSES, "paused"])
    op.create_index(
        "trials_paused",
        "trials",
        ["study_id"],
        schema="tuner",
        postgresql_where=sa.text("state = 'paused'"),
    )
    _views(
        state="WHEN 'paused' THEN 'WAITING' ",
        finished="CASE WHEN state <> 'paused' THEN finished_at END",
        where="WHERE t.state <> 'paused'",
    )


def downgrade() -> None:
    # what an earlier tuner can make of a paused trial: one that was pruned
    op.execute("UPDATE tuner.trials SET state = 'pruned' WHERE state = 'paused'")
    op.execute("UPDATE tuner.attempts SET cause = 'preempted' WHERE cause = 'paused'")
    _views(state="", finished="finished_at", where="")
    op.drop_index("trials_paused", table_name="trials", schema="tuner")
    _check("attempts", "cause", CAUSES)
    _check("trials", "state", STATES)
