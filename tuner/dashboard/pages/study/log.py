"""The tab Log: what went wrong, by cause and by attempt, and who has steered the study."""

from collections.abc import Mapping
from typing import Any

from tuner.commands import reading
from tuner.dashboard.board import Board
from tuner.database import audit
from tuner.database.readers import attempts
from tuner.report import findings
from tuner.trials import Study

LIMIT = 25  # attempts and changes


def context(board: Board, study: Study) -> Mapping[str, Any]:
    """The variables of the tab's template."""
    with board.database.statement() as connection:
        failed_attempts = attempts.without_result(connection, study.id, limit=LIMIT)
        changes = audit.of_study(connection, study.id, limit=LIMIT)
    return {
        "failures": reading.load_failures(board.database, study),
        "failed_attempts": failed_attempts,
        "changes": changes,
        "causes": findings.CAUSES,
        "limit": LIMIT,
    }
