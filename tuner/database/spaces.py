"""Sets of distributions, stored once per study and shared by its trials."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from tuner.database.storable_text import replace_unstorable

Distributions = Sequence[tuple[str, dict[str, Any]]]  # name, Optuna's distribution as JSON

# DO UPDATE, not DO NOTHING: so the row of a faster transaction is returned
_ENSURE = text("""
    INSERT INTO tuner.spaces (study_id, digest, distributions, names, texts)
    VALUES (:study, :digest, :distributions, CAST(:names AS text[]), CAST(:texts AS text[]))
    ON CONFLICT (study_id, digest) DO UPDATE SET digest = excluded.digest
    RETURNING id
""")


_NAMES = text("""
    SELECT DISTINCT unnest(names) AS name FROM tuner.spaces WHERE study_id = :study
""")


class StoredSpace(NamedTuple):
    """A set of distributions as its columns hold it."""

    digest: str
    distributions: str
    names: list[str]
    texts: list[str]


def encode(distributions: Distributions) -> StoredSpace:
    """Encode a set of distributions as its columns."""
    whole = json.dumps(distributions)
    return StoredSpace(
        digest=hashlib.sha256(whole.encode()).hexdigest(),
        distributions=whole,
        names=[replace_unstorable(name) for name, _ in distributions],
        texts=[json.dumps(distribution) for _, distribution in distributions],
    )


def ensure(connection: Connection, study_id: int, distributions: Distributions) -> int:
    """Return the id of this set of distributions; stores it if it is new."""
    row = connection.execute(_ENSURE, {"study": study_id, **encode(distributions)._asdict()}).one()
    return int(row.id)


def names(connection: Connection, study_id: int) -> set[str]:
    """Return the names of all parameters that trials of a study have."""
    return {row.name for row in connection.execute(_NAMES, {"study": study_id})}
