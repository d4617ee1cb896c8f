"""Find the line in a failed command's output that explains the failure.

Programs end their output with rules, boxes and progress bars, and launchers add tracebacks and
frames of their own. These are rules of thumb; the whole output is in the trial's log.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tuner.errors import visible

LENGTH = 300  # characters
FOLLOWING = 12  # lines after an exception: the rest of its message, and messages at the exit
KILLED = "Signal 9 (SIGKILL)"  # as torchrun describes it

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
# `[rank1]:` of torch, `[default0]:` of torchrun --tee, `[1,0]<stderr>:` of mpirun --tag-output
_PREFIX = re.compile(r"\[(?:rank\d+|[a-z]\w*?\d+|\d+,\d+)\](?:<std(?:out|err)>)?: ?")
_SIDES = ("│", "┃", "║")  # of a box
_BORDERS = "│┃║|❱\t "
_PROGRESS = re.compile(
    r"\d%\s*\||\d(?:it|ex|batch)? \[\d+:\d\d|\d+/\d+ \[[=>.]|[━█▏▎▍▌▋▊▉╸╺]{4,}|\[[=>#.]{4,}\s*\]"
)
_TRACEBACK = "Traceback (most recent call last)"
_EXCEPTION = re.compile(r"(?:\w+\.)*(?:[A-Z_]\w*|\w*error)(?::\s.*|:)?")
# exceptions that only say that another process failed: its own output says why
_OF_LAUNCHERS = re.compile(r"(?:[\w.]*\.)?(?:ChildFailedError|CalledProcessError)\b")
# what the other ranks print once one is gone
_OF_PEERS = re.compile(
    r"[\w.]*(?:DistBackendError|DistNetworkError)\b|.*(?:closed by peer|reset by peer|Broken pipe)"
)
_LOG_OF_TORCH = re.compile(r"[EWI]\d{4} \d\d:\d\d:\d\d\S* ")
# from torchrun's frame; without process ids, so that equal failures read alike
_SIGNAL = re.compile(r"traceback : (Signal \d+ \(\w+\)) received by PID")
_EXIT_CODE = re.compile(r"\s*exitcode\s+: (-?\d+)")
_ERROR = re.compile(
    r"error|fail|fatal|exception|cannot|can't|invalid|no such|not found|denied|killed|abort", re.I
)


class _Exception(NamedTuple):
    header: int  # the first line of its traceback
    line: int
    text: str


def find(output: str) -> str:
    """Find the line that says most about why the program failed; empty if there is none."""
    raw = [_PREFIX.sub("", _ANSI.sub("", line), count=1) for line in output.splitlines()]
    return visible(_choose(raw)[:LENGTH])


def _choose(lines: list[str]) -> str:
    exceptions = list(_exceptions(lines))
    own = [e for e in exceptions if not _OF_LAUNCHERS.match(e.text)]
    causes = [e for e in own if not _OF_PEERS.match(e.text)] or own
    last = exceptions[-1] if exceptions else None
    if last is None or (last in own and len(_drop_decoration(lines[last.line + 1 :])) > FOLLOWING):
        return (_drop_decoration(_join_boxes(lines)) or [""])[-1]
    if causes:
        return causes[-1].text
    signals = [
        f"one of its processes was killed: {match[1]}"
        for line in lines
        if (match := _SIGNAL.search(line))
    ]
    before = [
        line for line in _drop_decoration(lines[: last.header]) if not _LOG_OF_TORCH.match(line)
    ]
    if signals or (before and _ERROR.search(before[-1])):
        return (signals or before)[-1]
    codes = [match[1] for line in lines if (match := _EXIT_CODE.match(line))]
    return f"one of its processes exited with code {codes[-1]}" if codes else last.text


def _exceptions(lines: list[str]) -> Iterator[_Exception]:
    """Find the exceptions that end tracebacks, including those in exception groups."""
    header: int | None = None
    depth = 0
    for number, line in enumerate(lines):
        bare = re.sub(r"^\s*\|", " ", line)
        indent = len(bare) - len(bare.lstrip())
        if _TRACEBACK in line:
            header, depth = number, indent
            continue
        if header is None or indent > depth or line.lstrip()[:1] in _SIDES:
            continue
        if _EXCEPTION.fullmatch(text := bare.strip()):
            yield _Exception(header, number, text)
            header = None


def _join_boxes(lines: list[str]) -> Iterator[str]:
    """Join the lines of each box, as rich draws them, into one."""
    for is_box, group in itertools.groupby(lines, lambda line: line.lstrip()[:1] in _SIDES):
        if is_box:
            yield " ".join(line.strip(_BORDERS) for line in group)
        else:
            yield from group


def _drop_decoration(lines: Iterable[str]) -> list[str]:
    """Drop blank lines, rules, borders of boxes and progress bars."""
    bare = (line.strip(_BORDERS) for line in lines)
    return [line for line in bare if any(map(str.isalnum, line)) and not _PROGRESS.search(line)]
