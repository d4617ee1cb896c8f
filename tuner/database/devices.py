"""What trials have taken of their devices' memory."""

from sqlalchemy import Connection, text

RECENT = 1_000  # finished trials of a study that are looked at

_PEAKS = text("""
    SELECT number, user_attrs ->> 'device' AS device,
           CAST(user_attrs ->> 'peak_bytes' AS bigint) AS peak
    FROM tuner.trials
    WHERE study_id = :study AND state IN ('complete', 'pruned')
      AND user_attrs ->> 'peak_bytes' ~ '^[0-9]{1,18}$'
    ORDER BY number DESC LIMIT :limit
""")


def peaks(connection: Connection, study_id: int) -> dict[int, tuple[str, int]]:
    """Number → device and bytes of memory that the trial has taken at most; recent trials only."""
    rows = connection.execute(_PEAKS, {"study": study_id, "limit": RECENT})
    # attributes are stored as JSON texts
    return {row.number: ((row.device or "").strip('"'), row.peak) for row in rows}
