"""The tab Log: what went wrong, by cause and one by one, and who has steered the study."""

from collections.abc import Mapping
from typing import Any

from tuner.commands import reading
from tuner.dashboard.context import Board
from tuner.database import audit
from tuner.database.readers import attempts
from tuner.report import findings
from tuner.trials import Study

SHOWN = 25  # attempts and changes


def context(board: Board, study: Study) -> Mapping[str, Any]:
    """What the tab's template is given."""
    with board.database.statement() as connection:
        wrong = attempts.without_result(connection, study.id, limit=SHOWN)
        changes = audit.of_study(connection, study.id, limit=SHOWN)
    return {
        "failures": reading.load_failures(board.database, study),
        "wrong": wrong,
        "changes": changes,
        "causes": findings.CAUSES,
        "shown": SHOWN,
    }
