"""Users' own commands, run as an executor does: what they are told, how they end and what stays."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.user_commands import REPORT, Worker, run, shell, start_executor
from tests.support.waiting import STUCK, eventually
from tuner.artifacts import LOG_FILE
from tuner.errors import SpecError, TunerError
from tuner.families import command, resolve
from tuner.study_file.arguments import argument_list
from tuner.study_file.code import Code, variable
from tuner.study_file.load import loads
from tuner.training.cohort import Decision, FailedError
from tuner.trials import Cause, ParamValue
from tuner.user_code import client, source

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("short_graces")]


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# What it is told


def test_a_command_gets_its_parameters_in_three_ways(tmp_path: Path) -> None:
    params: dict[str, ParamValue] = {"lr": 1.2345678901234568e-05, "a.b-c": "x y", "flag": True}
    script = (
        'printf "%s\\n" "$@" > words; env > environment; cat "$TUNER_PARAMS" > params; report 1 1'
    )
    (tmp_path / "script.sh").write_text("report() {\n" + REPORT + "}\n" + script)
    run(
        tmp_path, "bash", "script.sh", "{lr}", "m={a.b-c},{{}}", "{arguments:options}", "{none}",
        params={**params, "none": None}, epochs=9,
    )  # fmt: skip
    words = (tmp_path / "words").read_text().splitlines()
    options = ["--lr=1.2345678901234568e-05", "--a.b-c=x y", "--flag"]
    assert words == ["1.2345678901234568e-05", "m=x y,{}", *options, "null"]
    assert json.loads((tmp_path / "params").read_text()) == {**params, "none": None}
    variables = dict(
        line.split("=", 1) for line in (tmp_path / "environment").read_text().splitlines()
    )
    assert {k: v for k, v in variables.items() if k.startswith("TUNER_PARAM_")} == {
        "TUNER_PARAM_LR": "1.2345678901234568e-05",
        "TUNER_PARAM_A_B_C": "x y",
        "TUNER_PARAM_FLAG": "true",
        "TUNER_PARAM_NONE": "null",
    }
    assert (variables["TUNER_SEED"], variables["TUNER_EPOCHS"], variables["OMP_NUM_THREADS"]) == (
        "3",
        "9",
        "2",
    )
    assert variables["PATH"].startswith(str(Path(sys.executable).parent))


def test_a_command_finds_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_DATABASE_URL", "postgresql://u:secret@h/d")
    shell(tmp_path, "env > environment; report 1 1")
    assert "secret" not in (tmp_path / "environment").read_text()


def test_reports_metrics_and_the_result(tmp_path: Path) -> None:
    context = shell(tmp_path, "report 1 3; report 5 1.5; report 6 2; echo done $answer")
    assert [(r.step, r.value) for r in context.reports[7]] == [(1, 3), (5, 1.5), (6, 2)]
    assert context.finished == {7: (1.5, None)}
    assert (tmp_path / "7.1" / LOG_FILE).read_text() == "done continue\n"


def test_a_report_without_an_end_of_line_and_without_a_step_counts(tmp_path: Path) -> None:
    script = (
        """printf '\\n{"value": 2}\\n\\n{"value": 1, "metrics": {"a": 3}}' >&$TUNER_REPORT_FD"""
    )
    context = shell(tmp_path, script)
    reports = [(r.step, r.value, dict(r.metrics)) for r in context.reports[7]]
    assert reports == [(1, 2, {}), (2, 1, {"a": 3})]


def test_python_programs_use_the_same_trial(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import tuner\n"
        "trial = tuner.current_trial()\n"
        "assert trial.params == {'lr': 0.1}, trial.params\n"
        "assert (trial.number, trial.seed, trial.epochs, trial.threads) == (7, 3, 4, 2)\n"
        "with trial.checkpoint.save() as folder:\n"
        "    (folder / 'x').write_text('saved')\n"
        "trial.report(0.5, loss=1)\n"
        "trial.report(0.25, 4)\n"
        "trial.report(0.1)\n"  # beyond the last epoch
        "assert trial.should_stop()\n"
        "trial.report(0.1)\n"
        "raise AssertionError\n"
    )
    context = run(tmp_path, "python", "program.py", epochs=4)
    assert [(r.step, dict(r.metrics)) for r in context.reports[7]] == [(1, {"loss": 1}), (4, {})]
    assert context.finished == {7: (0.25, None)}
    assert (tmp_path / "7.1" / "checkpoint" / "000001" / "x").read_text() == "saved"
    # by hand it has no parameters, and its reports go nowhere
    code = "import tuner; t = tuner.current_trial(); t.report(1); print(dict(t.params), t.number)"
    by_hand = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert by_hand.stdout == "{} 0\n"


def test_the_next_attempt_finds_what_was_left(tmp_path: Path) -> None:
    shell(tmp_path, 'report 1 1; echo old > "$TUNER_CHECKPOINT/a"')
    script = 'cat "$TUNER_CHECKPOINT/a"; echo new > "$TUNER_CHECKPOINT/a"; report 2 1'
    shell(tmp_path, script, attempt=3)
    assert (tmp_path / "7.3" / LOG_FILE).read_text() == "old\n"
    assert (tmp_path / "7.1" / "checkpoint" / "a").read_text() == "old\n"


# `tuner report`


def test_tuner_report_from_a_shell(tmp_path: Path) -> None:
    script = "for n in 1 2 3 4 5; do tuner report $n 0.$n loss=1e3 || break; done; echo ended $?"
    context = shell(tmp_path, script, epochs=3)
    reports = [(r.step, r.value, dict(r.metrics)) for r in context.reports[7]]
    assert reports == [(n, n / 10, {"loss": 1000.0}) for n in (1, 2, 3)]
    assert context.finished == {7: (0.1, None)}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "within a trial: tuner report STEP VALUE [NAME=VALUE …]"),
        (["--help"], "within a trial: tuner report STEP VALUE [NAME=VALUE …]"),
        (["1", "abc"], "VALUE: must be a number, is 'abc'"),
        (["x", "1"], "STEP: must be a number, is 'x'"),
        (["1e30", "1"], "the step must be between 0 and 2^53, is 1e+30"),
        (["1", "1", "loss"], "'loss': must be NAME=VALUE"),
        (["1", "1"], "TUNER_REPORT_FD is not open in this process"),
    ],
)
def test_wrong_uses_of_tuner_report(arguments: list[str], sentence: str) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "tuner", "report", *arguments],
        env={**os.environ, client.REPORTS: "77", client.ANSWERS: "78"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith(f"error: {sentence}")


def test_tuner_report_loads_next_to_nothing() -> None:
    code = "import sys; sys.argv = ['tuner', 'report']; import tuner.cli; print(*sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"typer", "pydantic", "sqlalchemy", "optuna", "numpy", "tempfile", "tuner.settings"}
    assert not heavy & set(process.stdout.split())


# How it ends


@pytest.mark.parametrize(
    ("script", "cause", "sentence"),
    [
        ("exit 0", Cause.USER_ERROR, "the code has ended without reporting anything"),
        ("echo no such file; exit 3", Cause.USER_ERROR, "exited with code 3: no such file$"),
        ("report 1 1; exit 3", Cause.USER_ERROR, "the command exited with code 3$"),
        ("kill -SEGV $$", Cause.USER_ERROR, "the command was killed by SIGSEGV"),
        (
            "kill -9 $$",
            Cause.OUT_OF_MEMORY,
            "killed by SIGKILL; the kernel does that where memory",
        ),
        ("exit 137", Cause.OUT_OF_MEMORY, "exited with code 137; the kernel does that"),
        (
            "echo torch.OutOfMemoryError: CUDA out of memory; exit 1",
            Cause.OUT_OF_MEMORY,
            "code 1: torch.OutOfMemoryError: CUDA out of memory",
        ),
        ("exec not-there", Cause.USER_ERROR, "exited with code 127: .*not-there.*not found"),
    ],
)
def test_failures_have_causes(tmp_path: Path, script: str, cause: Cause, sentence: str) -> None:
    with pytest.raises(FailedError, match=sentence) as caught:
        shell(tmp_path, script)
    assert caught.value.cause is cause
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("reported", "sentence"),
    [
        ("garbage", "line 1 of the reports: is not JSON: `garbage`"),
        (r"\xff\x00\x1b[31m", "line 1 of the reports: is not JSON"),
        ("3", "line 1 of the reports: must be an object"),
        ('{"valeu": 1}', "has the unknown key 'valeu'; it has `value`, `step` and `metrics`"),
        ('{"step": 1}', "has no `value`"),
        ('{"value": "0.5"}', "`value` must be a number, is '0.5'"),
        ('{"value": 1, "step": 1e300}', "the step must be between 0 and 2^53"),
        ('{"value": 1, "step": -1}', "the step must be between 0 and 2^53"),
        ('{"value": 1, "metrics": {"a\\\\u0000": 1}}', "the name of a metric must be short"),
    ],
)
def test_what_is_no_report_ends_the_trial(tmp_path: Path, reported: str, sentence: str) -> None:
    with pytest.raises(FailedError) as caught:
        shell(tmp_path, f"printf '{reported}\\n' >&$TUNER_REPORT_FD; sleep 1000")
    assert caught.value.cause is Cause.USER_ERROR
    assert sentence in str(caught.value)
    assert str(caught.value).isprintable()


def test_megabytes_of_garbage_end_the_trial(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="line 1 of the reports: is longer than 65536 bytes"):
        shell(tmp_path, "tr '\\0' x < /dev/zero >&$TUNER_REPORT_FD")


def test_what_is_not_finite_has_diverged(tmp_path: Path) -> None:
    context = shell(tmp_path, "report 1 1; report 2 NaN; sleep 1000")
    assert context.problems == {7: "loss became nan at step 2"}
    assert context.finished == {}


def test_answers_that_nobody_reads_do_no_harm(tmp_path: Path) -> None:
    script = """for n in $(seq 9000); do echo '{"value": 1}'; done >&$TUNER_REPORT_FD"""
    context = shell(tmp_path, script)
    assert len(context.reports[7]) == 9000
    assert context.finished == {7: (1.0, None)}


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "])
@pytest.mark.parametrize("decision", [Decision.PRUNE, Decision.PAUSE, Decision.STOP])
def test_what_goes_on_though_it_was_told_to_stop_is_killed(
    tmp_path: Path, decision: Decision, trap: str
) -> None:
    context = Worker(decision=lambda step: decision if step == 2 else Decision.GO_ON)
    script = f"{trap}report 1 1; report 2 1; while true; do report 3 1; sleep 0.01; done"
    shell(tmp_path, script, context=context)
    assert [r.step for r in context.reports[7]] == [1, 2]
    assert (context.finished, context.problems) == ({}, {})
    assert context.paused_trials == ([7] if decision is Decision.PAUSE else [])


@pytest.mark.parametrize("decision", [Decision.PAUSE, Decision.STOP])
def test_a_paused_trial_has_time_to_save(
    tmp_path: Path, decision: Decision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "STOP_GRACE", STUCK)
    context = Worker(decision=lambda _: decision)
    script = 'report 1 1; [ $answer = stop ] && sleep 0.3 && echo 1 > "$TUNER_CHECKPOINT/saved"'
    shell(tmp_path, script, context=context)
    assert (tmp_path / "7.1" / "checkpoint" / "saved").exists()


@pytest.mark.parametrize("epochs", [0, 2])
def test_a_report_on_its_way_when_the_worker_stops_counts(
    tmp_path: Path, epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "STOP_GRACE", STUCK)
    monkeypatch.setattr(command, "TERM_GRACE", STUCK)
    script = (
        "trap stopped=1 TERM; report 1 0.5; touch started\n"
        'until [ "$stopped" ]; do sleep 0.05; done\n'
        "report 2 0.4; echo $answer > answer\n"
    )

    def decide(step: int) -> Decision:  # as a worker that is stopping
        return Decision.GO_ON if step in (1, epochs) else Decision.STOP

    context = shell(
        tmp_path,
        script,
        context=Worker((tmp_path / "started").exists, decide),
        epochs=epochs,
    )
    assert [report.step for report in context.reports[7]] == [1, 2]
    assert (tmp_path / "answer").read_text().strip() == ("continue" if epochs else "stop")
    # a trial that has everything has nothing to do in another attempt
    assert [value for value, _ in context.finished.values()] == ([0.4] if epochs else [])


def test_a_command_that_never_reports_ends_when_the_worker_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "TERM_GRACE", STUCK)
    started = tmp_path / "started"
    context = Worker(started.exists)
    shell(
        tmp_path,
        "trap 'echo saved; exit 5' TERM; touch started; sleep 1000 & wait",
        context=context,
    )
    assert (context.finished, context.problems) == ({}, {})
    assert "saved" in (tmp_path / "7.1" / LOG_FILE).read_text()


# What it leaves


DAEMON = (
    "import os, time\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0:\n"
    "        open('daemon', 'w').write(str(os.getpid()))\n"
    "        time.sleep(1000)\n"
    "    os._exit(0)\n"
    "os.wait()\n"
    "while not (os.path.exists('daemon') and open('daemon').read()): time.sleep(0.01)\n"
)


def test_a_daemon_that_was_left_behind_is_killed(tmp_path: Path) -> None:
    (tmp_path / "daemon.py").write_text(DAEMON)
    context = shell(tmp_path, "report 1 1; python daemon.py")
    assert context.finished == {7: (1.0, None)}
    assert not is_alive(int((tmp_path / "daemon").read_text()))


def test_nothing_survives_an_executor_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "daemon.py").write_text(DAEMON)
    (tmp_path / "script.sh").write_text("trap '' TERM; python daemon.py; sleep 1000 & wait")
    executor = start_executor(tmp_path)
    eventually((tmp_path / "daemon").exists)
    everyone = psutil.Process(executor.pid).children(recursive=True)
    assert len(everyone) >= 3  # the guard, the shell and what it has started
    executor.send_signal(signal.SIGKILL)
    executor.wait()
    eventually(lambda: not any(is_alive(process.pid) for process in everyone))
    eventually(lambda: not is_alive(int((tmp_path / "daemon").read_text())))


# Its place in study files


HEAD = "name: x\nfamily: command\nobjective: {metric: m, direction: minimize}\n"


def complaint(command_: str, search: str = "{lr: {low: 0, high: 1}}") -> str:
    with pytest.raises(SpecError) as caught:
        resolve(loads(f"{HEAD}search: {search}\ncommand: {command_}\n", name="s.yaml"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("python train.py", "command: must be a list of words as in `[python, train.py, --lr, "),
        ("[]", "command: must have at least one word, the program"),
        ("[python, [a]]", "command[1]: must be text, is a list"),
        ("['']", "command[0]: must be text, is an empty text"),
        ("[a, '{lrr}']", "command[1]: there is no parameter `lrr`; did you mean `lr`?"),
        ("[a, '{lr']", "command[1]: there is a single `{` in `{lr`; write it twice"),
        ("[a, 'x{arguments}']", "command[1]: `{arguments}` must be a word by itself"),
    ],
)
def test_sentences_about_commands(value: str, sentence: str) -> None:
    assert complaint(value).startswith(f"s.yaml:5: {sentence}")


@pytest.mark.parametrize(
    ("search", "sentence"),
    [
        ("{a b: 1}", "search: the name `a b` must begin with a letter and consist of"),
        ("{arguments: 1}", "search: the name `arguments` means all parameters in a command"),
        ("{a.b: 1, A-B: 2}", "search: `A-B` and `a.b` would both be TUNER_PARAM_A_B"),
    ],
)
def test_sentences_about_names(search: str, sentence: str) -> None:
    assert complaint("[a]", search).startswith(f"s.yaml:4: {sentence}")


def test_words_may_be_numbers() -> None:
    text = f"{HEAD}search: {{lr: 1}}\ncommand: [a, --epochs, 3, 0.5, '{{{{lr}}']\n"
    code = resolve(loads(text.replace("'{{lr}'", "'{{lr}}'"))).code
    assert code is not None
    assert code.command == ("a", "--epochs", "3", "0.5", "{{lr}}")
    assert argument_list(code.command, {"lr": 1})[-1] == "{lr}"
    assert variable("a.b-C") == "TUNER_PARAM_A_B_C"


@pytest.mark.parametrize("other", ["tuner.py", "tuner/__init__.py"])
@pytest.mark.parametrize("line", ["import tuner", "from tuner import current_trial", "import os"])
def test_a_program_finds_tuner_and_not_another_module(
    tmp_path: Path, other: str, line: str
) -> None:
    (tmp_path / other).parent.mkdir(exist_ok=True)
    (tmp_path / other).touch()
    (tmp_path / "train.py").write_text(f"def main():\n    {line}\n")
    code = Code(folder=tmp_path, command=("python", "train.py"))
    if line == "import os":
        assert source.fingerprint(code)
        return
    with pytest.raises(SpecError) as caught:
        source.fingerprint(code)
    train = tmp_path / "train.py"
    assert str(caught.value) == (
        f"command: {train} would import {tmp_path / other} as `tuner`; give that another name"
    )


@pytest.mark.parametrize("name", ["random.py", "json.py", "tempfile.py"])
def test_a_program_may_be_called_as_a_standard_module(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(
        "import sys, tuner\n"
        "before = list(sys.path)\n"
        "tuner.current_trial().report(0.5)\n"
        "assert sys.path == before\n"
        "import random, helper\n"
        "random.Random\n"
    )
    (tmp_path / "helper.py").touch()
    context = run(tmp_path, "python", name)
    assert context.finished == {7: (0.5, None)}
    assert len(context.reports[7]) == 1


def test_programs_and_files_are_looked_for(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"command\[0\]: there is no program `not-there` here"):
        source.fingerprint(Code(folder=tmp_path, command=("not-there",)))
    with pytest.raises(SpecError, match=r"there is no program `./a.sh` in "):
        source.fingerprint(Code(folder=tmp_path, command=("./a.sh",)))
    script = tmp_path / "a.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "train.py").write_text("x = 1")
    by_module = Code(folder=tmp_path, command=("python", "-m", "pack.train"))
    by_file = Code(folder=tmp_path, command=("./a.sh", "pack/train.py", "/etc/passwd", "--x"))
    before = source.fingerprint(by_module), source.fingerprint(by_file)
    (package / "train.py").write_text("x = 2")
    after = source.fingerprint(by_module), source.fingerprint(by_file)
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_changed_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "script.sh").write_text("true")
    code = Code(folder=tmp_path, command=("bash", "script.sh"))
    code = code.model_copy(update={"fingerprint": source.fingerprint(code)})
    (tmp_path / "script.sh").write_text("false")
    with pytest.raises(TunerError, match="has changed since the study was launched"):
        source.check(code)
