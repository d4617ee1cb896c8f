"""The command line as tests run it."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.support.waiting import STUCK
from tuner import settings
from tuner.cli.app import execute

# a new process would spend three quarters of a second on imports, and hardly more on the rest
QUICK = frozenset(
    {
        *("best", "change", "delete", "enqueue", "launch", "list", "logs", "pause", "resume"),
        *("show", "stop", "trials", "workers"),
    }
)


def tuner(
    *arguments: str,
    environment: dict[str, str],
    cwd: Path | None = None,
    timeout: float = STUCK,
    typed: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does; those that start nothing, in this process."""
    if arguments[:1] and arguments[0] in QUICK:
        return tuner_here(arguments, environment, cwd)
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


def tuner_here(
    arguments: Sequence[str], environment: Mapping[str, str], cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.dict(os.environ, environment, clear=True),
        chdir(cwd or Path.cwd()),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        settings.settings.cache_clear()
        try:
            code = execute(arguments)
        finally:
            settings.settings.cache_clear()
    return subprocess.CompletedProcess(list(arguments), code, out.getvalue(), err.getvalue())


def ok(*arguments: str, environment: dict[str, str], cwd: Path) -> Any:
    """Run a command that must succeed; its JSON if it gives some, else its text."""
    done = tuner(*arguments, environment=environment, cwd=cwd)
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
