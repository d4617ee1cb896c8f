"""The command line as tests run it."""

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.support.measuring import measuring_here
from tests.support.waiting import STUCK
from tuner import settings
from tuner.cli import app, interrupts

PROGRAM = Path(app.__file__).parents[1] / "__main__.py"

# in a process of its own, each would spend half a second on imports
HERE = frozenset(
    {
        *("best", "change", "confirm", "delete", "enqueue", "export", "launch", "list", "logs"),
        *("pause", "report", "resume", "run", "show", "stop", "trials", "verify", "worker"),
        "workers",
    }
)


def tuner(
    *arguments: str,
    environment: dict[str, str],
    cwd: Path | None = None,
    timeout: float = STUCK,
    typed: str = "",
    process: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does: in a process, or where that is not tested, in this one.

    In this one weights are measured here too; trials run in executors, as always. What has other
    modules on its path, or trains code of users to verify it, is a process.
    """
    is_process = (
        process
        or not set(arguments[:1]) <= HERE
        or environment.get("PYTHONPATH") != os.environ.get("PYTHONPATH")
        or (arguments[0] == "verify" and "--allow-code" in arguments)
    )
    if not is_process:
        with (
            patch.object(subprocess, "run", measuring_here(subprocess.run)),
            patch.object(sys, "argv", [str(PROGRAM), *arguments]),
        ):
            return tuner_here(arguments, environment, cwd, typed)
    return subprocess.run(
        [sys.executable, "-m", "tuner", *arguments],
        env=environment,
        cwd=cwd,
        input=typed,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@contextmanager
def restored_log() -> Iterator[None]:
    """Undo how a command sets up tuner's log, which would hide it from later tests' `caplog`."""
    logger = logging.getLogger("tuner")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    try:
        yield
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


def tuner_here(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    cwd: Path | None = None,
    typed: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a command line in this process, and leave nothing of it."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.dict(os.environ, environment, clear=True),
        patch.object(sys, "stdin", io.StringIO(typed)),
        patch.dict(vars(interrupts)),  # which signals came
        chdir(cwd or Path.cwd()),
        redirect_stdout(out),
        redirect_stderr(err),
        restored_log(),
    ):
        settings.settings.cache_clear()
        try:
            code = app.execute(arguments)
        finally:
            settings.settings.cache_clear()
    return subprocess.CompletedProcess(list(arguments), code, out.getvalue(), err.getvalue())


def ok(*arguments: str, environment: dict[str, str], cwd: Path, process: bool = False) -> Any:
    """Run a command that must succeed; its JSON if it gives some, else its text."""
    done = tuner(*arguments, environment=environment, cwd=cwd, process=process)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


def answer(*arguments: str, environment: dict[str, str], cwd: Path) -> Any:
    """The JSON of a command that must succeed."""
    return ok(*arguments, "--json", environment=environment, cwd=cwd)


def repeated_as_exported(file: Path, name: str, environment: dict[str, str], cwd: Path) -> None:
    """The study runs, and its export alone is trained again to the same value."""
    best = ok("run", str(file), "--json", environment=environment, cwd=cwd)["best"]
    assert best["metric"]["validation"] == best["metric"]["validation_from_weights"]
    verified = ok("verify", f"exports/{name}", "--json", environment=environment, cwd=cwd)
    assert verified["passed"], verified
    assert verified["checks"][-1]["found"] == best["metric"]["validation"]
