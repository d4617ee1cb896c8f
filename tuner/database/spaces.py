"""Sets of distributions, stored once a study and shared by its trials."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, text

# DO UPDATE, not DO NOTHING, so that the row of whoever was faster is returned
_ENSURE = text("""
    INSERT INTO tuner.spaces (study_id, digest, distributions)
    VALUES (:study, :digest, :distributions)
    ON CONFLICT (study_id, digest) DO UPDATE SET digest = excluded.digest
    RETURNING id
""")


def ensure(
    connection: Connection, study_id: int, distributions: Sequence[tuple[str, dict[str, Any]]]
) -> int:
    """The id of this set of distributions, stored if it is new."""
    text_ = json.dumps(distributions)
    digest = hashlib.sha256(text_.encode()).hexdigest()
    row = connection.execute(
        _ENSURE, {"study": study_id, "digest": digest, "distributions": text_}
    ).one()
    return int(row.id)
