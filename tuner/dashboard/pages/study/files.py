"""An attempt's files on this machine: its log, and what it has kept.

A request names a study, a trial and an attempt by numbers, and a file by a name that a listing has
given: no path of a client's is ever opened.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner import artifacts
from tuner.dashboard.context import Board
from tuner.figures import text
from tuner.trials import Trial, TrialState

CHUNK = 64_000  # bytes of a log that one answer has
MOST = 200  # files that are listed


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that an attempt has left."""

    name: str  # below the attempt's folder
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a log."""

    text: str
    start: int  # the byte that it begins with
    end: int  # where the next part begins
    size: int  # of the whole log so far


def kept(board: Board, study_id: int, number: int, attempt: int) -> list[Kept]:
    """The files in an attempt's folder, by name, without what is written aside."""
    folder = _folder(board, study_id, number, attempt)
    found = []
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
            found.append(Kept(str(path.relative_to(folder)), path.stat().st_size))
    return found[:MOST]


def path_of(board: Board, study_id: int, number: int, attempt: int, name: str) -> Path | None:
    """Where a file of that name lies, if the attempt's listing has it."""
    if all(one.name != name for one in kept(board, study_id, number, attempt)):
        return None
    return _folder(board, study_id, number, attempt) / name


def log(
    board: Board, study_id: int, number: int, attempt: int, *, start: int | None = None
) -> Chunk | None:
    """A part of an attempt's log from a byte on, by default its end; None if it is not here."""
    path = _folder(board, study_id, number, attempt) / artifacts.LOG_FILE
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            begin = max(size - CHUNK, 0) if start is None or start > size else start
            file.seek(begin)
            content = file.read(CHUNK)
    except OSError:
        return None
    if start is None and begin:  # from a whole line on
        skipped = content.find(b"\n") + 1
        begin, content = begin + skipped, content[skipped:]
    whole = _whole(content)
    return Chunk(whole.decode("utf-8", "replace"), begin, begin + len(whole), size)


def log_part(
    board: Board, study_id: int, trial: Trial, attempt: int, start: int | None
) -> dict[str, Any]:
    """The same for programs and scripts, as text that can be shown, and whether more will come."""
    running = trial.state is TrialState.RUNNING and trial.attempt == attempt
    chunk = log(board, study_id, trial.number, attempt, start=start) or Chunk("", 0, 0, 0)
    # a progress bar may go on in the next part: the page draws what it shows last
    parts = re.split("([\n\r])", chunk.text)
    shown = "".join(p if p in "\n\r" else text.clean(p.expandtabs(4)) for p in parts)
    return {
        "text": shown,
        "start": chunk.start,
        "end": chunk.end,
        "size": chunk.size,
        "running": running,
    }


def _whole(content: bytes) -> bytes:
    """Without a character at the end of which a part has not been written yet."""
    for back in range(1, min(4, len(content)) + 1):
        byte = content[-back]
        if byte & 0b1100_0000 == 0b1100_0000:  # a character begins here
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return content if back >= length else content[:-back]
        if byte < 0x80:
            break
    return content


def _folder(board: Board, study_id: int, number: int, attempt: int) -> Path:
    return artifacts.attempt_folder(board.settings, study_id, number, attempt)
