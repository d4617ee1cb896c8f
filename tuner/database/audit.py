"""The audit log: who asked the dashboard for which change, when, and with what outcome."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from tuner.database.storable_text import replace_unstorable

LENGTH = 500  # characters of a detail

_WRITE = text("""
    INSERT INTO tuner.audit (actor, action, status, detail)
    VALUES (:actor, :action, :status, :detail)
""")
_PAGE = text("""
    SELECT id, at, actor, action, status, detail FROM tuner.audit
    WHERE CAST(:before AS bigint) IS NULL OR id < :before
    ORDER BY id DESC LIMIT :limit
""")

_OF_STUDY = text("""
    SELECT id, at, actor, action, status, detail FROM tuner.audit
    WHERE action ~ :pattern AND status < 400
    ORDER BY id DESC LIMIT :limit
""")
_REMOVE_OLD = text("DELETE FROM tuner.audit WHERE at < now() - make_interval(days => :days)")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One attempt to change something."""

    id: int
    at: datetime
    actor: str
    action: str  # POST /studies/3/pause
    status: int  # HTTP's: with 2xx and 3xx it was done
    detail: str


def write(connection: Connection, *, actor: str, action: str, status: int, detail: str) -> None:
    """Add an entry."""
    arguments = {
        "actor": replace_unstorable(actor),
        "action": replace_unstorable(action[:LENGTH]),
        "status": status,
        "detail": replace_unstorable(detail[:LENGTH]),
    }
    connection.execute(_WRITE, arguments)


def remove_old(connection: Connection, *, days: int) -> None:
    """Remove the entries that are older than so many days."""
    connection.execute(_REMOVE_OLD, {"days": days})


def page(
    connection: Connection, *, before: int | None = None, limit: int = 100
) -> list[AuditEntry]:
    """List the latest entries, or those before the one with an id."""
    rows = connection.execute(_PAGE, {"before": before, "limit": limit})
    return [AuditEntry(*row) for row in rows]


def of_study(connection: Connection, study_id: int, *, limit: int = 50) -> list[AuditEntry]:
    """List the latest changes of a study that were made."""
    pattern = f"/studies/{study_id}(/|$)"
    return [
        AuditEntry(*row)
        for row in connection.execute(_OF_STUDY, {"pattern": pattern, "limit": limit})
    ]
