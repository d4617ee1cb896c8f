"""A study that an earlier version searched as floats is not continued in whole numbers."""

import pytest

from tuner.commands.launching import launch
from tuner.commands.preparing import PreparedStudy
from tuner.database.engine import Database
from tuner.errors import StudyExistsError
from tuner.families import resolve
from tuner.study_file.load import loads

HEAD = (
    "name: x\nfamily: command\ncommand: [train]\nobjective: {metric: score, direction: maximize}\n"
)


def prepared(ends: str) -> PreparedStudy:
    return PreparedStudy(resolve(loads(f"{HEAD}search:\n  n: {{{ends}}}\n")), None, {})


def test_a_log_range_of_an_earlier_version_goes_on_as_float(database: Database) -> None:
    launch(database, prepared("type: float, low: 16, high: 256, log: true"))
    with pytest.raises(StudyExistsError, match=r"searches n as float: write `type: float`"):
        launch(database, prepared("low: 16, high: 256, log: true"), resume=True)
    again = prepared("type: float, low: 16, high: 256, log: true")
    assert not launch(database, again, resume=True).created
