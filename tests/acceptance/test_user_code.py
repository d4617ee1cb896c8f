"""User code, tuned from the command line: ends, causes, permission, export."""

import difflib
import json
import re
import signal
import subprocess
import sys
import threading
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from sqlalchemy import text
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.support.commands import answer, tuner
from tests.support.waiting import STUCK, eventually
from tuner.commands import reading, steering
from tuner.database.engine import Database
from tuner.settings import Settings
from tuner.trials import TrialState
from tuner.worker import loop
from tuner.worker.devices import Slot

STUDY = """
name: own
family: function
function: user_code:train
objective: {metric: loss, direction: minimize}
search:
  x: {low: 0.0, high: 5.0}
  kind: [a, b]
budget: {trials: 6, epochs: 9, max_failures: 2}
resources: {workers: 1, device: cpu, max_attempts: 2}
seed: 1
"""
MODULE = """
import sys

def train(trial):
    assert "torch" not in sys.modules, "nobody asked for torch"
    start = 0
    if trial.checkpoint.latest is not None:
        start = int((trial.checkpoint.latest / "step").read_text())
    print("from", start, "seed", trial.seed)
    for step in range(start + 1, trial.epochs + 1):
        value = (trial.params["x"] - 2) ** 2 + 1 / step
        trial.report(value, step, twice=2 * value)
        with trial.checkpoint.save() as folder:
            (folder / "step").write_text(str(step))
        if trial.should_stop():
            return None
        if trial.attempt == 1 and trial.number == 0 and step == 4:
            import os
            os._exit(5)
    (trial.artifacts / "model.txt").write_text(trial.params["kind"])
    return value
"""


def write(folder: Path, module: str = MODULE, study: str = STUDY) -> Path:
    (folder / "user_code.py").write_text(module)
    path = folder / "own.yaml"
    path.write_text(study)
    return path


def test_a_function_is_tuned_exported_and_repeated(
    environment: dict[str, str], tmp_path: Path
) -> None:
    run: dict[str, Any] = {"environment": environment, "cwd": tmp_path}
    enqueue = "enqueue: [{x: 2.0, kind: a}, {x: 5.0}]\npruner: {name: rungs, startup_trials: 2}\n"
    result = answer("run", str(write(tmp_path, study=STUDY + enqueue)), **run)
    best = result["best"]
    trials = answer("trials", "own", **run)
    assert [t["state"] in ("complete", "pruned") for t in trials] == [True] * 6
    assert (trials[0]["message"], trials[1]["message"]) == (
        None,
        "rung at epoch 1: 10 ranks 2nd of 2; only the best goes on",
    )
    assert [t["origin"]["kind"] for t in trials[:2]] == ["enqueued"] * 2
    assert ["sampler" in t["origin"] for t in trials] == [False] + [True] * 5
    # it ended its own process after four steps, and went on from there
    assert (trials[0]["attempt"], len(trials[0]["reports"])) == (2, 9)
    assert tuner("logs", "own", "0", **run).stdout.startswith("from 4 seed ")
    assert trials[0]["reports"][8]["metrics"] == {"twice": 2 * trials[0]["values"][0]}
    logged = Path(answer("trials", "own", "--tensorboard", "logs", **run)["tensorboard"])
    scalars = EventAccumulator(str(tmp_path / logged / "trial-00000")).Reload().Scalars("twice")
    assert [e.step for e in scalars] == list(range(1, 10))
    at = [e.wall_time for e in scalars]
    assert at == sorted(at)
    assert at[0] >= datetime.fromisoformat(trials[0]["created_at"]).timestamp()

    folder = tmp_path / "exports" / "own"
    assert (folder / "checkpoint" / "step").read_text() == "9"
    assert (folder / "artifacts" / "model.txt").read_text() == best["params"]["kind"]
    assert best["metric"] == {
        "name": "loss",
        "direction": "minimize",
        "validation": min(t["values"][0] for t in trials if t["state"] == "complete"),
        "epoch": 9,
    }
    assert best["code"]["function"] == "user_code:train"
    assert best["kept"] == ["checkpoint", "artifacts"]
    assert "as reported by your code" in tuner("export", "own", "--to", "x", **run).stdout
    elsewhere = {**environment, "TUNER_HOME": str(tmp_path / "elsewhere")}
    without = tuner("export", "own", "--to", "y", environment=elsewhere, cwd=tmp_path)
    assert without.returncode == 0
    assert "the trial's files are not here: " in without.stderr
    assert not (tmp_path / "y" / "artifacts").exists()
    repeated = answer("run", str(folder / "reproduce.yaml"), **run)
    assert repeated["best"]["metric"]["validation"] == best["metric"]["validation"]
    assert repeated["best"]["seed"] == best["seed"]
    refused = tuner("verify", str(folder), **run)
    assert refused.returncode == 2
    assert "must run: add `--allow-code` to allow that" in refused.stderr
    verified = answer("verify", str(folder), "--allow-code", **run)  # it ends its process here too
    assert [check["passed"] for check in verified["checks"]] == [True, True]
    assert verified["checks"][1]["found"] == best["metric"]["validation"]

    # other code is another study
    write(tmp_path, MODULE + "# changed\n")
    refused = tuner("run", str(tmp_path / "own.yaml"), **run)
    assert refused.returncode == 2
    assert "code.fingerprint: " in refused.stderr
    refused = tuner("verify", str(folder), "--allow-code", **run)
    assert refused.returncode == 1
    assert "has changed since the study was launched" in refused.stdout


@pytest.mark.parametrize(
    ("body", "cause", "message"),
    [
        (
            "import os; open('pids', 'a').write(f'{os.getpid()}\\n'); "
            "raise ValueError('no such\\nfile')",
            "user_error",
            "ValueError: no such",
        ),
        ("raise MemoryError", "out_of_memory", "MemoryError"),
        ("import os; os._exit(3)", "lost", "the executor exited with code 3"),
    ],
)
def test_failures_have_causes_and_the_study_ends(
    environment: dict[str, str], tmp_path: Path, body: str, cause: str, message: str
) -> None:
    run: dict[str, Any] = {"environment": environment, "cwd": tmp_path}
    file = write(tmp_path, f"def train(trial):\n    {body}\n")
    process = tuner("run", str(file), "--set", "budget.trials=2", **run)
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    trial = answer("trials", "own", **run)[0]
    assert trial["cause"] == cause
    assert message in trial["message"]
    assert "\n" not in trial["message"]
    if cause == "user_error":  # what it has left of its process is not for the next one
        assert len(set((tmp_path / "pids").read_text().split())) == 2


def test_a_mistake_can_be_corrected(environment: dict[str, str], tmp_path: Path) -> None:
    run: dict[str, Any] = {"environment": environment, "cwd": tmp_path}
    file = write(tmp_path, "def train(trial):\n    return trail.params['x']\n")
    process = tuner("run", str(file), **run)
    assert process.returncode == 1
    assert "2 trials in a row failed (user_error)" in process.stderr
    write(tmp_path, "def train(trial):\n    return trial.params['x']\n")
    result = answer("run", str(file), **run)
    assert (result["counts"]["complete"], result["counts"]["failed"]) == (6, 0)


def test_a_worker_on_a_shared_server_runs_user_code_only_if_told(
    environment: dict[str, str], tmp_path: Path
) -> None:
    run: dict[str, Any] = {"environment": environment, "cwd": tmp_path}
    answer("launch", str(write(tmp_path)), **run)
    refused = tuner("worker", "--study", "own", **run)
    assert refused.returncode == 2
    assert "may only do with `--allow-code`" in refused.stderr
    idle = tuner("worker", "--until-done", "--workers", "1", **run)
    assert idle.returncode == 0
    assert "own is not served: it runs code of its own" in idle.stderr
    assert answer("show", "own", **run)["counts"]["waiting"] == 0
    worked = tuner("worker", "--until-done", "--workers", "1", "--allow-code", **run)
    assert worked.returncode == 0
    assert answer("show", "own", **run)["state"] == "finished"
    assert yaml.safe_load(tuner("best", "own", **run).stdout).keys() == {"x", "kind"}


ROOT = Path(__file__).parents[2]


def blocks(page: str, language: str) -> list[str]:
    """The code in a page of the documentation."""
    text = (ROOT / "docs" / "families" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_documented_example_in_bash(environment: dict[str, str], tmp_path: Path) -> None:
    (script,) = blocks("command.md", "bash")
    (tmp_path / "fit.sh").write_text(script)
    (tmp_path / "line.yaml").write_text(blocks("command.md", "yaml")[-1])
    *_, steps = blocks("command.md", "sh")
    points = steps.splitlines()[0]
    subprocess.run(["bash", "-c", points], cwd=tmp_path, check=True)
    result = answer(
        "run", "line.yaml", "--set", "budget.trials=5", "--workers", "1",
        environment=environment, cwd=tmp_path,
    )  # fmt: skip
    assert result["counts"]["failed"] == 0
    assert result["best"]["metric"]["epoch"] == 9
    folder = tmp_path / "exports" / "bash-line"
    assert (folder / "artifacts" / "line.txt").read_text().startswith("y = ")
    assert (folder / "checkpoint" / "state").read_text().endswith(" 9\n")
    assert result["best"]["code"]["command"][:2] == ["bash", "fit.sh"]
    verified = answer("verify", str(folder), "--allow-code", environment=environment, cwd=tmp_path)
    assert [(c["name"], c["passed"]) for c in verified["checks"]] == [
        ("files", True), ("training", True),
    ]  # fmt: skip
    assert verified["checks"][1]["found"] == result["best"]["metric"]["validation"]
    trials = answer("trials", "bash-line", environment=environment, cwd=tmp_path)
    assert all("slope" in report["metrics"] for trial in trials for report in trial["reports"])


def test_a_study_of_an_older_tuner_goes_on_with_its_options(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    """Its `{arguments}` was `--name value`; the same file continues it."""
    run: dict[str, Any] = {"environment": environment, "cwd": tmp_path}
    program = "import sys, tuner\nprint(sys.argv[1:])\ntuner.current_trial().report(1)\n"
    (tmp_path / "program.py").write_text(program)
    study = STUDY.replace(
        "family: function\nfunction: user_code:train",
        'family: command\ncommand: [python, program.py, "{arguments}"]',
    )
    study = study.replace("x: {low: 0.0, high: 5.0}", "x: [true]").replace("[a, b]", "[-1]")
    (tmp_path / "own.yaml").write_text(study.replace("trials: 6", "trials: 1"))
    answer("launch", "own.yaml", **run)
    older = """UPDATE tuner.studies SET spec = jsonb_set(
        spec::jsonb, '{code,command,2}', '"{arguments}"')"""
    with database.statement() as connection:
        assert connection.execute(text(older)).rowcount == 1
    answer("run", "own.yaml", "--name", "new", **run)
    answer("run", "own.yaml", **run)
    assert tuner("logs", "new", "0", **run).stdout == "['--x', '--kind=-1']\n"
    assert tuner("logs", "own", "0", **run).stdout == "['--x', 'true', '--kind', '-1']\n"


def test_a_paused_command_saves_and_goes_on(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    """It says nothing after its first report until SIGTERM comes; the server forgets that one."""
    (tmp_path / "slow.sh").write_text(
        'if [ -f "$TUNER_CHECKPOINT/saved" ]; then tuner report 2 7; exit; fi\n'
        "trap 'echo > \"$TUNER_CHECKPOINT/saved\"; exit' TERM\n"
        "tuner report 1 5; touch started; sleep 1000 & wait\n"
    )
    study = STUDY.replace(
        "family: function\nfunction: user_code:train", "family: command\ncommand: [bash, slow.sh]"
    )
    (tmp_path / "own.yaml").write_text(study.replace("trials: 6", "trials: 1"))
    command = [sys.executable, "-m", "tuner", "run", "own.yaml", "--json"]
    run: dict[str, Any] = {"env": environment, "cwd": tmp_path}
    with subprocess.Popen(command, **run, stdout=subprocess.DEVNULL) as process:
        eventually((tmp_path / "started").exists)
        process.send_signal(signal.SIGINT)
        assert process.wait(STUCK) == 130
    with database.statement() as connection:
        assert connection.execute(text("DELETE FROM tuner.reports")).rowcount == 1
    result = answer("run", "own.yaml", environment=environment, cwd=tmp_path)
    assert result["best"]["metric"]["validation"] == 7
    (trial,) = answer("trials", "own", environment=environment, cwd=tmp_path)
    assert trial["attempt"] == 2
    (record,) = reading.load_trials(database, reading.find(database, "own"))
    assert [(r.step, r.value) for r in record.reports] == [(1, 5), (2, 7)]


def test_a_function_that_does_not_listen_is_ended_with_its_process(
    environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    """It never reports, blocks signals and has left a child; then its study is paused."""
    module = """
import os, signal, sys, time
def train(trial):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
    else:
        print("garbage" * 1000, flush=True)
        open("started", "w").close()
    time.sleep(1000)
"""
    run: dict[str, Any] = {"environment": environment, "cwd": tmp_path}
    answer("launch", str(write(tmp_path, module)), **run)

    def pause() -> None:
        eventually((tmp_path / "started").exists)
        steering.pause(database, "own")

    before = set(psutil.Process().children(recursive=True))  # what other tests have started
    pausing = threading.Thread(target=pause)
    pausing.start()
    settings = Settings(home=Path(environment["TUNER_HOME"]), drain_grace=0.2)
    slot = Slot("cpu", 1)
    loop.Worker(database, settings, [slot], only=["own"], until_done=True, allow_code=True).run()
    pausing.join()
    trial = reading.load_trials(database, reading.find(database, "own"))[0]
    assert (trial.state, trial.attempt) == (TrialState.WAITING, 1)
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.mark.parametrize("script", ["keras_cnn.py", "lstm.py"])
def test_tutorials_need_no_more_than_five_lines(script: str) -> None:
    original = (ROOT / "studies" / "originals" / script).read_text(encoding="utf-8").splitlines()
    tuned = (ROOT / "studies" / script).read_text(encoding="utf-8").splitlines()
    changes = [line for line in difflib.ndiff(original, tuned) if line[0] in "+-"]
    assert "tuner" not in "\n".join(original)
    assert 0 < sum(line[0] == "+" for line in changes) <= 5
    # what is taken out are the constants that a parameter stands for
    assert sum(line[0] == "-" for line in changes) <= 2


@pytest.mark.parametrize(("study", "steps"), [("keras-cnn", 2), ("lstm", 2)])
def test_tutorials_are_tuned_on_real_digits(
    environment: dict[str, str], tmp_path: Path, study: str, steps: int
) -> None:
    if study == "keras-cnn" and find_spec("keras") is None:
        pytest.skip("Keras is not installed")
    keras = {"KERAS_BACKEND": "torch", "KERAS_HOME": str(tmp_path / "keras")}
    result = answer(
        "run", str(ROOT / "studies" / f"{study}.yaml"), "--workers", "1", "--threads", "1",
        "--set", "budget.trials=2", "--set", f"budget.epochs={steps}",
        environment={**environment, **keras}, cwd=tmp_path,
    )  # fmt: skip
    assert result["counts"]["failed"] == 0
    trials = answer("trials", study, environment=environment, cwd=tmp_path)
    reported = trials[0]["reports"]
    assert [report["step"] for report in reported] == list(range(1, steps + 1))
    assert 0.05 < result["best"]["metric"]["validation"] <= 1
    accuracies = {trial["values"][0] for trial in trials}
    assert len(accuracies) == 2  # the parameters have arrived


def test_user_code_reports_what_is_optimized_beside_its_metric(
    environment: dict[str, str], tmp_path: Path
) -> None:
    body = (
        "def train(trial):\n    x = trial.params['x']\n"
        "    trial.report(x * x, cost=(x - 1) ** 2)\n    trial.report(x * x + 1, cost=9.0)\n"
        "    if trial.params['kind'] == 'b':\n        trial.report(-1.0)\n"
    )
    objective = (
        "{metric: [loss, cost, training_seconds], direction: [minimize, minimize, minimize]}"
    )
    study = STUDY.replace("{metric: loss, direction: minimize}", objective)
    study = study.replace("trials: 6", "trials: 3") + "enqueue: [{kind: a}, {kind: a}, {kind: b}]\n"
    run: Any = {"environment": environment, "cwd": tmp_path}
    answer("run", str(write(tmp_path, body, study)), **run)
    trials = json.loads(tuner("trials", "own", "--json", **run).stdout)
    for trial in trials[:2]:
        loss, cost, seconds = trial["values"]
        assert loss == trial["params"]["x"] ** 2  # of the best report …
        assert cost == (trial["params"]["x"] - 1) ** 2  # … as what stands beside it
        assert 0 < seconds == trial["user_attrs"]["training_seconds"]
    assert (trials[2]["state"], trials[2]["cause"]) == ("failed", "user_error")
    assert trials[2]["message"] == (
        "`cost`, one of the objectives, was not reported with the best value; report it every time"
    )

    # the front is confirmed by the first objective; the companion has all of them
    record = answer("confirm", "own", "--top", "2", "--seeds", "2", **run)
    record_of_study = answer("show", "own", **run)
    front = {trial["number"] for trial in record_of_study["pareto_front"]}
    assert {c["number"] for c in record["candidates"]} <= front
    assert record["winner"] in front
    again = answer("trials", "own-confirm", **run)
    assert all(len(trial["values"]) == 3 for trial in again)
    assert answer("best", "own", **run)["trial"] == record["winner"]


def test_a_study_of_a_small_space_ends_when_it_is_used_up(
    environment: dict[str, str], tmp_path: Path
) -> None:
    run: dict[str, Any] = {"environment": environment, "cwd": tmp_path}
    study = STUDY.replace("  x: {low: 0.0, high: 5.0}\n", "").replace("[a, b]", "[a, b, c]")
    study = study.replace("workers: 1", "workers: 2").replace("trials: 6", "trials: 8")
    module = "def train(trial):\n    trial.report(1.0, 1)\n"
    answer("run", str(write(tmp_path, module, study)), **run)
    record = answer("show", "own", **run)
    assert record["reason"] == "all 3 configurations of its space were tried"
    trials = answer("trials", "own", **run)
    assert sorted(trial["params"]["kind"] for trial in trials) == ["a", "b", "c"]
    answer("change", "own", "sampler.repeat=true", **run)
    study += "sampler: {repeat: true}\n"
    answer("run", str(write(tmp_path, module, study)), **run)
    assert answer("show", "own", **run)["reason"] == "all 8 trials are done"


def test_a_function_gets_the_whole_only_if_less_was_promising(
    environment: dict[str, str], tmp_path: Path
) -> None:
    run: dict[str, Any] = {"environment": environment, "cwd": tmp_path}
    module = (
        "def train(trial):\n"
        "    while not trial.should_stop():\n"
        "        trial.report(trial.params['x'] + 1 / trial.fidelity, size=trial.fidelity)\n"
    )
    study = (
        "name: own\nfamily: function\nfunction: user_code:train\n"
        "objective: {metric: loss, direction: minimize}\nsearch: {x: {low: 0.0, high: 5.0}}\n"
        "budget: {trials: 12, fidelity: {name: size, low: 1, high: 9}}\n"
        "pruner: {name: rungs, resume: true}\nresources: {workers: 1, device: cpu}\n"
    )
    result = answer("run", str(write(tmp_path, module, study)), **run)
    trials = answer("trials", "own", **run)

    sizes = {
        trial["number"]: [report["metrics"]["size"] for report in trial["reports"]]
        for trial in trials
    }
    # an attempt that was paused at a level goes on with the next one
    assert all(levels == [1, 3, 9][: len(levels)] for levels in sizes.values())
    whole = {trial["number"] for trial in trials if trial["state"] == "complete"}
    assert whole == {number for number, levels in sizes.items() if len(levels) == 3}
    assert 0 < len(whole) <= 4
    assert any(trial["attempt"] > 1 for trial in trials)
    values = {trial["number"]: trial["values"][0] for trial in trials if trial["number"] in whole}
    assert result["best"]["trial"] == min(values, key=values.__getitem__)
    verified = tuner("verify", "exports/own", "--allow-code", **run)
    assert "training: equal, to the last digit" in verified.stdout
