"""What a study has learned from others at its launch, as text that only the search understands."""

from sqlalchemy import Connection, text

_STORE = text("INSERT INTO tuner.warm_starts (study_id, content) VALUES (:study, :content)")
_LOAD = text("SELECT content FROM tuner.warm_starts WHERE study_id = :study")


def store(connection: Connection, study_id: int, content: str) -> None:
    """Store what a new study has learned; it never changes."""
    connection.execute(_STORE, {"study": study_id, "content": content})


def load(connection: Connection, study_id: int) -> str | None:
    """Load what a study has learned; None if it has learned nothing."""
    content: str | None = connection.scalar(_LOAD, {"study": study_id})
    return content
