"""Prepare data that others have sent, in a separate process with limits.

A few kilobytes can expand to more than a machine's memory, or take forever to read. That must not
take the dashboard down.
"""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tuner import errors, processes
from tuner.data.prepare import open_prepared, prepare
from tuner.data.prepared import PreparedData
from tuner.errors import DataError, TunerError
from tuner.files import shown
from tuner.settings import executor_environment
from tuner.study_file.data import DataSpec
from tuner.study_file.messages import counted

MAX_PROCESSES = 2  # at the same time; others wait

_slots = threading.BoundedSemaphore(MAX_PROCESSES)


@dataclass(frozen=True, slots=True)
class Limits:
    """The resources that preparing may use."""

    memory: int  # bytes
    file: int  # bytes per file that is written
    seconds: int  # of CPU time
    wall: float  # seconds


def upload_limits() -> Limits:
    """Return the limits for uploaded data, which has at most a megabyte."""
    return Limits(memory=2 << 30, file=256 << 20, seconds=120, wall=600.0)


def machine_limits() -> Limits:
    """Return the limits for data on this machine: half of its memory, an hour."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Limits(memory=memory // 2, file=1 << 40, seconds=3600, wall=3600.0)


def prepare_apart(spec: DataSpec, cache: Path, limits: Limits) -> PreparedData:
    """Prepare data in a process with limits; DataError also if it exceeds them."""
    entry = open_prepared(spec, cache)
    if entry is None:
        with _slots:
            _run(spec, cache, limits)
        entry = open_prepared(spec, cache)
    if entry is None:
        raise DataError(f"{_where(spec)}: has changed while it was read; try again")
    return entry


def _run(spec: DataSpec, cache: Path, limits: Limits) -> None:
    request = {
        "data": spec.model_dump(mode="json"),
        "cache": str(cache),
        "limits": asdict(limits),
    }
    try:
        process = subprocess.run(
            processes.command("tuner.data.limited_process"),
            input=json.dumps(request),
            capture_output=True,
            text=True,
            errors="replace",
            env=executor_environment(1, None),
            timeout=limits.wall,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _too_much(spec, f"{limits.wall:g} seconds") from None
    if process.returncode == -signal.SIGXCPU:
        raise _too_much(spec, f"{counted(limits.seconds, 'second')} of CPU time")
    try:
        answer: Mapping[str, Any] = json.loads(process.stdout)
    except ValueError:
        last = (process.stderr.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise DataError(f"{_where(spec)}: cannot be read ({errors.visible(last)})") from None
    if answer.get("exceeds") == "memory":
        raise _too_much(spec, f"{limits.memory / 2**30:.3g} GiB of memory")
    if answer.get("exceeds") == "file":
        raise _too_much(spec, f"{limits.file / 2**20:.0f} MiB on disk")
    if "error" in answer:
        kind = getattr(errors, answer["error"], TunerError)
        raise kind(answer["message"])


def _too_much(spec: DataSpec, what: str) -> DataError:
    return DataError(
        f"{_where(spec)}: takes more than {what} to prepare, which the dashboard does not allow; "
        "if you trust it, launch the study with `tuner launch`"
    )


def _where(spec: DataSpec) -> str:
    return shown(spec.path) if spec.path is not None else spec.source


def main() -> None:
    """Prepare the data of the request on standard input; write the answer to standard output."""
    request = json.load(sys.stdin)
    limits = Limits(**request["limits"])
    for which, limit in (
        (resource.RLIMIT_DATA, limits.memory),
        (resource.RLIMIT_FSIZE, limits.file),
        (resource.RLIMIT_CPU, limits.seconds),
    ):
        _, hard = resource.getrlimit(which)
        lowest = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(which, (lowest, hard))
    json.dump(_answer(request), sys.stdout)


def _answer(request: Mapping[str, Any]) -> dict[str, str]:
    try:
        prepare(DataSpec.model_validate(request["data"]), Path(request["cache"]))
    except MemoryError:
        return {"exceeds": "memory"}
    except TunerError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MemoryError):
                return {"exceeds": "memory"}
            if isinstance(cause, OSError) and cause.errno == errno.EFBIG:
                return {"exceeds": "file"}
            cause = cause.__cause__ or cause.__context__
        return {"error": type(error).__name__, "message": str(error)}
    return {}
