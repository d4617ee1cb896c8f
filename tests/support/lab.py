"""Workers under faults: user code that stops where it is told to, and what must hold afterwards.

The code keeps a ledger of its own, in which every start and every end is a line, so what really ran
is known apart from what the database says.
"""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

from tests.support.commands import tuner
from tests.support.postgres import Server
from tests.support.searching import Trainer, search
from tests.support.waiting import STUCK, eventually
from tuner.artifacts import REPORTS_FILE
from tuner.commands import launching, preparing, reading
from tuner.database import schema
from tuner.database.engine import Database, parse_url
from tuner.database.readers import attempts
from tuner.errors import DatabaseError
from tuner.settings import Settings
from tuner.trials import StudyState, Trial, TrialState

LEASE = 2.0  # seconds
TRIALS, EPOCHS = 4, 3

CODE = '''
import os, select
from pathlib import Path

HERE = Path(__file__).parent
EPOCHS = 3

def note(*words):
    descriptor = os.open(HERE / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (" ".join(map(str, words)) + "\\n").encode())
    os.close(descriptor)

def point(trial, moment):
    """The first trial that gets here waits until it may go on."""
    if trial.params["moment"] != moment:
        return
    try:
        with open(HERE / f"reached-{moment}", "x") as file:
            file.write(f"{os.getpid()} {trial.number}\\n")
    except FileExistsError:
        return
    while not (HERE / f"go-{moment}").exists():
        select.poll().poll(10)  # ms; a faked clock does not know how time.sleep waits

def train(trial):
    note("start", trial.params["moment"], trial.number, trial.attempt)
    saved = trial.checkpoint.latest
    begun = int((saved / "epoch").read_text()) if saved else 0
    for epoch in range(begun + 1, EPOCHS + 1):
        if epoch == 2:
            point(trial, "epoch")
        # reported first: what is saved and was not reported would be missing (docs)
        trial.report(epoch + trial.params["x"], epoch)
        if epoch == 2:
            point(trial, "reported")
        with trial.checkpoint.save() as folder:
            (folder / "epoch").write_text(str(epoch))
            if epoch == 2:
                point(trial, "checkpoint")
        if trial.should_stop():
            return None
    point(trial, "tell")
    note("end", trial.params["moment"], trial.number, trial.attempt)
    return EPOCHS + trial.params["x"]
'''
STUDY = """
name: {name}
family: function
function: faulty:train
objective: {{metric: figure, direction: maximize}}
search: {{x: {{low: 0.0, high: 1.0}}, moment: {moment}}}
budget: {{trials: {trials}, epochs: {epochs}}}
sampler: random
pruner: none
resources: {{device: cpu, threads: 1, max_attempts: 9}}
"""


class Lab:
    """A database, a folder and two workers with one executor each."""

    def __init__(self, server: Server, name: str, folder: Path) -> None:
        self.folder = folder
        self.server = server
        url = server.create(name)
        self.database = Database(parse_url(url))
        schema.upgrade(self.database)
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("TUNER_")},
            "TUNER_DATABASE_URL": url,
            "TUNER_HOME": str(folder / "home"),
            "TUNER_LEASE_SECONDS": str(LEASE),
            "TUNER_ALLOW_CODE": "true",
        }
        (folder / "faulty.py").write_text(CODE)
        self._hold_a_study()
        self.workers: list[subprocess.Popen[bytes]] = []
        self.told: set[int] = set()  # workers that were asked to end
        self._seen: set[psutil.Process] = set()  # executors

    def _hold_a_study(self) -> None:
        """Have one active whose only trial somebody else works on.

        Executors of workers that know of code of users alone do not import torch.
        """
        file = self._write("held", "idle", trials=1)
        settings = Settings(home=self.folder / "home")
        prepared = preparing.prepare_study(self.database, file, settings)
        study = launching.launch(self.database, prepared).study
        worker = Trainer(self.database, search(self.database, study.id, prepared.spec))
        assert worker.claim() is not None

    def _write(self, name: str, moment: str, trials: int = TRIALS) -> Path:
        """A study file whose first trial to come to that moment waits there."""
        file = self.folder / f"{name}.yaml"
        file.write_text(STUDY.format(name=name, moment=moment, trials=trials, epochs=EPOCHS))
        return file

    def spawn_worker(self, *wrapper: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start one."""
        command = [*wrapper, sys.executable, "-m", "tuner", "worker", "--workers", "1"]
        with (self.folder / "workers.log").open("ab") as log:
            worker = subprocess.Popen(command, env={**self.environment, **environment}, stderr=log)
        self.workers.append(worker)
        return worker

    def start_worker(self, *wrapper: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start one and wait until it has an executor."""
        worker = self.spawn_worker(*wrapper, **environment)
        eventually(lambda: self.executors(worker.pid))
        return worker

    def executors(self, worker: int) -> list[psutil.Process]:
        """A worker's executors."""
        children: list[psutil.Process] = psutil.Process(worker).children(recursive=True)
        self._seen.update(children)  # guards, and what user code has started, too
        return [p for p in children if "tuner.worker.executor" in _command(p)]

    def worker_of(self, executor: int) -> psutil.Process:
        """The worker whose executor it is."""
        ours = {worker.pid for worker in self.workers}
        (owner,) = (p for p in psutil.Process(executor).parents() if p.pid in ours)
        return owner

    def launch(self, moment: str) -> None:
        """Launch a study whose first trial to come to that moment waits there."""
        eventually(self.server.answers)  # a strike may have made it start again
        done = tuner("launch", str(self._write(moment, moment)), environment=self.environment)
        assert done.returncode == 0, done.stderr

    def reached(self, moment: str) -> tuple[int, int]:
        """Wait for that trial: the process that runs it, and its number."""
        path = self.folder / f"reached-{moment}"
        eventually(lambda: path.exists() and path.read_text().endswith("\n"))
        process, number = path.read_text().split()
        self._seen.add(psutil.Process(int(process)))
        return int(process), int(number)

    def go_on(self, moment: str) -> None:
        """Let it go on."""
        (self.folder / f"go-{moment}").touch()

    def trials(self, moment: str) -> list[Trial]:
        """The study's trials, by number; none while the database does not answer."""
        with suppress(DatabaseError):
            return reading.load_trials(self.database, reading.find(self.database, moment))
        return []

    def is_finished(self, moment: str) -> bool:
        """Whether the study has ended."""
        with suppress(DatabaseError):
            return reading.find(self.database, moment).state is StudyState.FINISHED
        return False

    def check(self, moment: str) -> None:
        """Wait for the study's end; every trial has been finished once, whatever ran how often."""
        try:
            self._check(moment)
        except AssertionError as error:
            error.add_note(self._evidence(moment))
            raise

    def _check(self, moment: str) -> None:
        eventually(lambda: self.is_finished(moment), progress=lambda: self.trials(moment))
        study = reading.find(self.database, moment)
        trials = self.trials(moment)
        assert study.issued == TRIALS
        assert [t.number for t in trials] == list(range(TRIALS))
        for trial in trials:
            assert trial.state is TrialState.COMPLETE, trial
            x = trial.params["x"]
            assert isinstance(x, float)
            assert trial.values == (EPOCHS + x,)
            assert [(r.step, r.value) for r in trial.reports] == [
                (epoch, epoch + x) for epoch in range(1, EPOCHS + 1)
            ]
        starts, ends = self._ledger(moment)
        assert max(starts.values()) == 1, "an attempt ran twice"
        for trial in trials:
            assert (trial.number, trial.attempt) in ends.keys() & starts.keys()
            assert max(attempt for n, attempt in starts if n == trial.number) == trial.attempt

    def _evidence(self, moment: str) -> str:
        """All that tells what happened to a study's trials."""
        lines: list[str] = []
        with suppress(DatabaseError):
            study = reading.find(self.database, moment)
            lines += [f"{study}", *map(str, self.trials(moment))]
            with self.database.statement() as connection:
                lines += map(str, attempts.of_study(connection, study.id))
        with suppress(OSError):
            lines += (self.folder / "ledger").read_text().splitlines()
        logs = [*self.folder.rglob(REPORTS_FILE), self.folder / "workers.log", self.server.log]
        for path in logs:
            with suppress(OSError):
                lines += [f"--- {path}", *path.read_text(errors="replace").splitlines()[-200:]]
        return "\n".join(lines)

    def _ledger(self, moment: str) -> tuple[Counter[tuple[int, int]], Counter[tuple[int, int]]]:
        """(number, attempt) → how often it started and ended, as the code itself saw it."""
        counters: dict[str, Counter[tuple[int, int]]] = {"start": Counter(), "end": Counter()}
        for line in (self.folder / "ledger").read_text().splitlines():
            word, of, number, attempt = line.split()
            if of == moment:
                counters[word][int(number), int(attempt)] += 1
        return counters["start"], counters["end"]

    def close(self) -> None:
        """Stop the workers: in order, and nothing of them is left, neither process nor file."""
        for worker in self.workers:
            if worker.poll() is None:
                self.executors(worker.pid)
            if worker.pid not in self.told:
                worker.terminate()
        assert {worker.wait(STUCK) for worker in self.workers} <= {0, -signal.SIGKILL}
        _, alive = psutil.wait_procs(self._seen, timeout=STUCK)
        assert not alive
        artifacts = self.folder / "home" / "artifacts"
        assert [path for path in artifacts.rglob("*") if path.name.startswith(".")] == []

    def kill(self) -> None:
        """Leave nothing running after a failure."""
        for worker in self.workers:
            with suppress(psutil.Error):
                self.executors(worker.pid)
            worker.kill()
            worker.wait()
        for process in self._seen:
            with suppress(psutil.Error):
                process.kill()
        self.database.close()


def past_the_lease() -> None:
    """Let a lease pass of which nobody could tell."""
    threading.Event().wait(LEASE * 1.25)


def taken_over(lab: Lab, moment: str, number: int) -> bool:
    """Whether somebody else has the trial."""
    return lab.trials(moment)[number].attempt > 1


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return ""
