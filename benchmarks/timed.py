"""An executor that notes when trials take their first step and when they finish.

Started with `FD DEVICE [--warm]` instead of `tuner.worker.executor`. It appends lines of process,
event and monotonic seconds to `times` in the folder of the study's artifacts.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

from tuner.worker import executor

FILE = "times"


def note(folder: Path, event: str) -> None:
    """Append a line; `folder` is an attempt's."""
    with (folder.parent / FILE).open("a") as file:
        file.write(f"{os.getpid()} {event} {time.monotonic():.6f}\n")


def main() -> None:
    """Patch, and be an executor."""
    finish, warm = executor._Context.finish, "--warm" in sys.argv

    def at_finish(self: Any, *arguments: Any) -> None:
        note(self._log.parent, "finish")
        finish(self, *arguments)

    executor._Context.finish = at_finish  # type: ignore[method-assign]
    if warm:
        note_first_steps()
    executor.main()


def note_first_steps() -> None:
    """Patch tuner's own families; a function notes its first step itself, and needs no torch."""
    from tuner.training.member import Member

    epoch = Member.epoch

    def first_step(self: Any) -> Any:
        if self._epoch == 0:
            note(self._task.folder, "first")
        return epoch(self)

    Member.epoch = first_step  # type: ignore[method-assign]
