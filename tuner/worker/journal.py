"""What a trial's attempts have reported, in a file beside their checkpoints.

The database acknowledges a report before it is on the server's disk, and training goes on before
the report is sent. If the server dies then and the worker loses the trial, a checkpoint may be
ahead of the stored reports, and the attempt that resumes from it does not report them again. This
file has them.
"""

import json
import logging
from collections.abc import Iterable
from pathlib import Path

from tuner.artifacts import REPORTS_FILE
from tuner.trials import Report

_log = logging.getLogger(__name__)


def note(folder: Path, report: Report) -> None:
    """Append a report to the journal in an attempt's folder; a full disk loses only this note."""
    fields = {"step": report.step, "value": report.value, "metrics": dict(report.metrics)}
    line = json.dumps(fields) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / REPORTS_FILE).open("a", encoding="utf-8") as file:
            file.write(line)
    except OSError as error:
        _log.warning("could not note a report in %s: %s", folder, error.strerror)


def noted(folders: Iterable[Path]) -> list[Report]:
    """Return the reports of a trial's attempts, by step; `folders`: theirs, the latest first."""
    by_step: dict[int, Report] = {}
    for folder in folders:
        try:
            lines = (folder / REPORTS_FILE).read_text(encoding="utf-8").split("\n")[:-1]
        except OSError:  # an attempt that reported nothing, or on another machine
            continue
        of_attempt: dict[int, Report] = {}  # a later report of a step replaces the one before
        for line in lines:
            try:
                report = Report(**json.loads(line))
            except (TypeError, ValueError):  # the disk was full in the middle of it
                _log.warning("%s: skipped a damaged line", folder / REPORTS_FILE)
                continue
            of_attempt[report.step] = report
        by_step = of_attempt | by_step
    return [by_step[step] for step in sorted(by_step)]
