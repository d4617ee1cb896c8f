"""What a trial's attempts have reported, in a file beside their checkpoints.

The database acknowledges a report before it is on the server's disk, and training goes on before
the report is sent. Where the server dies then and the worker loses the trial, a checkpoint may be
ahead of the reports that are stored, and the attempt that goes on from it does not report them
again. This file knows them.
"""

import json
import logging
from collections.abc import Iterable
from pathlib import Path

from tuner.artifacts import REPORTS_FILE
from tuner.trials import Report

_log = logging.getLogger(__name__)


def note(folder: Path, report: Report) -> None:
    """Append a report of the attempt whose folder this is; a full disk costs the note alone."""
    words = {"step": report.step, "value": report.value, "metrics": dict(report.metrics)}
    line = json.dumps(words) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / REPORTS_FILE).open("a", encoding="utf-8") as file:
            file.write(line)
    except OSError as error:
        _log.warning("a report is not noted in %s: %s", folder, error.strerror)


def noted(folders: Iterable[Path]) -> list[Report]:
    """The reports of a trial's attempts, by step; `folders` are theirs, the latest first."""
    found: dict[int, Report] = {}
    for folder in folders:
        try:
            lines = (folder / REPORTS_FILE).read_text(encoding="utf-8").split("\n")[:-1]
        except OSError:  # an attempt that reported nothing, or on another machine
            continue
        its: dict[int, Report] = {}  # a later report of a step replaces the one before
        for line in lines:
            try:
                report = Report(**json.loads(line))
            except (TypeError, ValueError):  # the disk was full in the middle of it
                _log.warning("%s: a line is damaged and left out", folder / REPORTS_FILE)
                continue
            its[report.step] = report
        found = its | found
    return [found[step] for step in sorted(found)]
