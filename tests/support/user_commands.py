"""Users' own commands, run as an executor does."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support.training import Recorder
from tuner.artifacts import LOG_FILE
from tuner.families import command
from tuner.study_file.code import Code
from tuner.training.cohort import Cohort, Decision, Task
from tuner.trials import ParamValue
from tuner.user_code import source

REPORT = """printf '{"step": %s, "value": %s}\\n' "$1" "$2" >&"$TUNER_REPORT_FD"
read -r answer <&"$TUNER_ANSWER_FD"
"""


class Worker(Recorder):
    """A context whose worker wants to stop once the condition holds."""

    def __init__(
        self,
        stops: Callable[[], bool] = lambda: False,
        decision: Callable[[int], Decision] = lambda _: Decision.GO_ON,
    ) -> None:
        super().__init__(lambda _, report: decision(report.step))
        self.asked_to_stop = stops  # type: ignore[method-assign]


def start_executor(folder: Path) -> subprocess.Popen[bytes]:
    """A process that runs `script.sh` of the folder as a trial, to be killed."""
    main = (
        "from pathlib import Path; from tests.support import user_commands as t\n"
        "t.run(Path(), 'bash', 'script.sh')"
    )
    return subprocess.Popen(
        [sys.executable, "-c", main],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def run(
    folder: Path,
    *words: str,
    context: Recorder | None = None,
    params: Mapping[str, ParamValue] | None = None,
    attempt: int = 1,
    epochs: int = 0,
) -> Recorder:
    """Run a command as an executor does, its output in a log."""
    context = context or Worker()
    code = Code(folder=folder, command=words)
    code = code.model_copy(update={"fingerprint": source.fingerprint(code)})
    folders = [folder / f"7.{n}" for n in range(attempt, 0, -1)]
    task = Task(7, attempt, params or {"lr": 0.1}, 3, folders[0], tuple(folders[1:]))
    cohort = Cohort(
        study="s",
        family="command",
        data=None,
        fingerprint="",
        metric="loss",
        direction="minimize",
        epochs=epochs,
        early_stop=None,
        precision="auto",
        device="cpu",
        threads=2,
        cache=folder,
        tasks=(task,),
        code=code,
    )
    task.folder.mkdir(exist_ok=True)
    with captured(task.folder / LOG_FILE):
        command.run(cohort, context)
    return context


@contextlib.contextmanager
def captured(log: Path) -> Any:
    originals = os.dup(1), os.dup(2)
    with log.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
        try:
            yield
        finally:
            for stream, original in zip((1, 2), originals, strict=True):
                os.dup2(original, stream)
                os.close(original)


def shell(folder: Path, script: str, **options: Any) -> Recorder:
    """Run a script; `report STEP VALUE` reports in it and puts the answer into $answer."""
    (folder / "script.sh").write_text("report() {\n" + REPORT + "}\n" + script)
    return run(folder, "bash", "script.sh", **options)
