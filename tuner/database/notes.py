"""Notes on studies: one text per study, that of the latest writer."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from tuner.database.storable_text import replace_unstorable

_READ = text("SELECT text, author, revision, updated_at FROM tuner.notes WHERE study_id = :study")
_WRITE = text("""
    INSERT INTO tuner.notes (study_id, text, author) SELECT id, :text, :author
    FROM tuner.studies WHERE id = :study AND :revision = 0
    ON CONFLICT DO NOTHING
    RETURNING revision
""")
_REWRITE = text("""
    UPDATE tuner.notes
    SET text = :text, author = :author, revision = revision + 1, updated_at = clock_timestamp()
    WHERE study_id = :study AND revision = :revision
    RETURNING revision
""")


@dataclass(frozen=True, slots=True)
class Note:
    """A study's note; revision 0 if nobody has written one."""

    text: str = ""
    author: str | None = None
    revision: int = 0
    updated_at: datetime | None = None


def read(connection: Connection, study_id: int) -> Note:
    """Read the study's note."""
    row = connection.execute(_READ, {"study": study_id}).one_or_none()
    return Note() if row is None else Note(*row)


def write(connection: Connection, study_id: int, note: str, *, author: str, revision: int) -> bool:
    """Replace the note that was read as `revision`; False if it has been changed since."""
    statement = _REWRITE if revision else _WRITE
    arguments = {
        "study": study_id,
        "text": replace_unstorable(note),
        "author": author,
        "revision": revision,
    }
    return connection.execute(statement, arguments).one_or_none() is not None
