"""Trials that Optuna runs in a study of tuner's: who has them, and what tuner lacks of them."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tuner import families
from tuner.cli import live, logs, output
from tuner.errors import NothingToExportError
from tuner.export import BundleOptions, export
from tuner.settings import Settings
from tuner.study_file.load import load
from tuner.trials import Cause, Study, StudyState, Trial, TrialState

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ASKED = Trial(number=3, state=TrialState.RUNNING, params={"x": 0.5}, started_at=BEGIN)
TOLD = replace(ASKED, state=TrialState.COMPLETE, values=(0.9,))
STUDY = Study(
    name="shared", state=StudyState.ACTIVE, directions=("maximize",), metrics=("score",),
    family="function", spec=None, max_trials=4, issued=4, id=1,
)  # fmt: skip


@pytest.mark.parametrize(
    ("trial", "in_optuna"),
    [
        (ASKED, True),
        (TOLD, True),
        (replace(TOLD, started_at=None), True),  # `add_trial`
        (replace(ASKED, attempt=2), True),  # after a worker's attempt
        (replace(ASKED, worker="host:1", attempt=1), False),
        (replace(ASKED, state=TrialState.WAITING), False),
        (replace(ASKED, state=TrialState.WAITING, started_at=None), False),
        (replace(ASKED, state=TrialState.FAILED, started_at=None, cause=Cause.KILLED), False),
    ],
)
def test_a_trial_that_no_worker_has_is_of_optuna(trial: Trial, in_optuna: bool) -> None:
    assert trial.ran_in_optuna is in_optuna


def study_of(folder: Path, text: str) -> Study:
    file = folder / "study.yaml"
    file.write_text(text)
    spec = families.resolve(load(file))
    return replace(STUDY, family=spec.family, spec=spec.as_json())


def test_user_code_is_exported_without_files_of_the_trial(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def train(trial):\n    return trial.params['x']\n")
    study = study_of(
        tmp_path,
        "name: shared\nfamily: function\nfunction: own:train\n"
        "objective: {metric: score, direction: maximize}\nsearch: {x: {low: 0.0, high: 1.0}}\n",
    )
    options = BundleOptions(trials=[TOLD])
    exported = export(study, TOLD, tmp_path / "bundle", Settings(home=tmp_path), options=options)
    assert exported.content["missing"] == (
        "trial 3 was run through Optuna: its figure is the one that the program reported, and "
        "tuner has no files of it"
    )
    assert exported.content["kept"] == []
    assert exported.content["params"] == {"x": 0.5}
    assert (tmp_path / "bundle" / "reproduce.yaml").is_file()


def test_the_weights_of_a_network_cannot_be_exported(tmp_path: Path) -> None:
    study = study_of(tmp_path, "name: shared\nfamily: cnn\ndata: digits\n")
    with pytest.raises(NothingToExportError, match=r"^trial 3 was run through Optuna, .*--trial`$"):
        export(
            study,
            TOLD,
            tmp_path / "bundle",
            Settings(home=tmp_path),
            options=BundleOptions(trials=[TOLD]),
        )
    assert not (tmp_path / "bundle").exists()


def test_a_trial_of_optuna_has_no_log() -> None:
    assert logs._explain_missing_log(TOLD, TOLD.attempt) == (
        "trial 3 ran outside tuner, so it has no log"
    )
    waiting = Trial(number=0, state=TrialState.WAITING, params={})
    assert logs._explain_missing_log(waiting, 0) == "trial 0 has not started yet, so it has no log"


def test_what_waits_for_a_process_that_may_be_dead_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "program", lambda: ["tuner"])
    sentence = (
        "trial 3 is being run through Optuna; if its process died, end it with "
        "`tuner kill shared 3`"
    )
    progress = live._StudyProgress(STUDY)
    progress._trials = {3: ASKED, 2: replace(TOLD, number=2)}
    assert progress.line(named=False) == (
        f"1/4 trials, 1 running, 1 complete; best score 0.9 (trial 2); {sentence}"
    )
    progress._trials[1] = replace(ASKED, number=1, worker="host:1", attempt=1)
    assert "Optuna" not in progress.line(named=False)  # a worker is busy
    progress._trials[1] = replace(ASKED, number=1)
    assert output.describe_optuna_trials(STUDY, progress._trials.values()) == (
        "trials 3, 1 are being run through Optuna; if their process died, end the first with "
        "`tuner kill shared 3`, and so on"
    )
    progress._study = replace(STUDY, issued=3)  # there is more to do meanwhile
    assert "Optuna" not in progress.line(named=False)
