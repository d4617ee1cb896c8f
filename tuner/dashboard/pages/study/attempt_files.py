"""An attempt's files on this machine: its log, and the files it has written.

A request names a study, a trial and an attempt by number, and a file by a name from the listing: a
path that a client sends is never opened.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner import artifacts
from tuner.dashboard.board import Board
from tuner.figures import text
from tuner.trials import Trial, TrialState

CHUNK = 64_000  # bytes of a log per response
MAX_FILES = 200  # files in a listing


@dataclass(frozen=True, slots=True)
class AttemptFile:
    """A file that an attempt has written."""

    name: str  # below the attempt's folder
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class LogChunk:
    """A part of a log."""

    text: str
    start: int  # the byte where it begins
    end: int  # the byte where the next part begins
    size: int  # of the whole log so far


def list_files(board: Board, study_id: int, number: int, attempt: int) -> list[AttemptFile]:
    """The files in an attempt's folder, sorted by name, without temporary ones."""
    folder = _folder(board, study_id, number, attempt)
    listing = []
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
            listing.append(AttemptFile(str(path.relative_to(folder)), path.stat().st_size))
    return listing[:MAX_FILES]


def find_file(board: Board, study_id: int, number: int, attempt: int, name: str) -> Path | None:
    """The path of a file from the attempt's listing; None if the listing does not have it."""
    if all(file.name != name for file in list_files(board, study_id, number, attempt)):
        return None
    return _folder(board, study_id, number, attempt) / name


def read_log(
    board: Board, study_id: int, number: int, attempt: int, *, start: int | None = None
) -> LogChunk | None:
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
    if start is None and begin:  # begin with a whole line
        skipped = content.find(b"\n") + 1
        begin, content = begin + skipped, content[skipped:]
    whole = _drop_partial_character(content)
    return LogChunk(whole.decode("utf-8", "replace"), begin, begin + len(whole), size)


def log_part(
    board: Board, study_id: int, trial: Trial, attempt: int, start: int | None
) -> dict[str, Any]:
    """A part of a log as JSON, with text that is safe to show and whether more may come."""
    running = trial.state is TrialState.RUNNING and trial.attempt == attempt
    chunk = read_log(board, study_id, trial.number, attempt, start=start) or LogChunk("", 0, 0, 0)
    # a progress bar may continue in the next part: the page resolves what it shows in the end
    parts = re.split("([\n\r])", chunk.text)
    visible = "".join(p if p in "\n\r" else text.clean(p.expandtabs(4)) for p in parts)
    return {
        "text": visible,
        "start": chunk.start,
        "end": chunk.end,
        "size": chunk.size,
        "running": running,
    }


def _drop_partial_character(content: bytes) -> bytes:
    """Drop a character at the end that has not been written completely."""
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
