"""A confirmation's study: what it queues, with which seeds, and when it refuses to wait."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.searching import LEASE, Trainer, search
from tuner.commands import launching, preparing, reading, steering
from tuner.commands.confirming import REPEATS, Confirmation
from tuner.database import serving, studies
from tuner.database.engine import Database
from tuner.errors import BadInputError, TunerError
from tuner.settings import Settings
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.study import Confirm
from tuner.trials import SEED, TRAINING_SECONDS, Cause, Study, StudyState, TrialState
from tuner.winner import choice, confirmations
from tuner.winner.confirmations import ATTRIBUTE

CODE = "def train(trial):\n    return 0.5\n"
STUDY = """
name: luck
family: function
function: luck_code:train
objective: {metric: accuracy, direction: maximize}
search: {kind: [lucky, better, poor]}
enqueue: [{kind: lucky}, {kind: better}, {kind: poor}]
budget: {trials: 3, epochs: 1}
"""
SEARCHED = {"lucky": 0.99, "better": 0.91, "poor": 0.5}
QUALITY = {"lucky": 0.8, "better": 0.9, "poor": 0.5}

Trainings = list[tuple[str, int | None]]  # kind and seed, in their order


class Home:
    """A study in which three configurations were tried, and who trains more of them."""

    def __init__(self, database: Database, folder: Path, study: str = STUDY) -> None:
        self.database = database
        self.settings = Settings(home=folder / "home")
        self.code = folder / "luck_code.py"
        self.code.write_text(CODE)
        file = folder / "luck.yaml"
        file.write_text(study)
        prepared = preparing.prepare_study(database, file, self.settings)
        self.trainings: Trainings = []
        self.fail = ""  # this kind's trainings fail
        self.train(launching.launch(database, prepared).study, SEARCHED, noise=0.0)
        self.trainings.clear()

    @property
    def study(self) -> Study:
        return reading.find(self.database, "luck")

    def train(self, study: Study, quality: dict[str, float], noise: float = 0.004) -> None:
        """Train all that a study gives, as workers do."""
        of = ResolvedSpec.from_json(study.spec or {})
        trainer = Trainer(self.database, search(self.database, study.id, of))
        while (trial := trainer.claim()) is not None:
            kind, seed = str(trial.params["kind"]), trial.claim.seed
            self.trainings.append((kind, seed))
            if kind == self.fail:
                trainer.finish(trial, TrialState.FAILED, cause=Cause.USER_ERROR, message="no")
                continue
            value = quality[kind] + random.Random(seed).gauss(0, noise)
            attrs = {TRAINING_SECONDS: 1.0, "device": "cpu", "threads": 1, SEED: seed}
            trainer.finish(trial, values=[value], user_attrs=attrs)
        with self.database.statement() as connection:
            serving.finish_if_done(connection, [study.id], lease=LEASE)

    def confirm(self, *, work: Callable[[Study], bool] | None = None, **request: int) -> int | None:
        """The number of the winner; None where it was interrupted."""

        def train(study: Study) -> bool:
            self.train(study, QUALITY)
            return False

        contest = Confirmation(self.database, self.settings, self.study, Confirm(**request))
        verdict = contest.run(work or train, lambda *_: None)
        return None if verdict is None else verdict.winner.number


@pytest.fixture
def home(database: Database, tmp_path: Path) -> Home:
    return Home(database, tmp_path)


def test_every_configuration_has_the_same_fresh_seeds(home: Home) -> None:
    assert home.confirm(seeds=3) == 1
    seeds = {kind: {s for k, s in home.trainings if k == kind} for kind in QUALITY}
    assert seeds["lucky"] == seeds["better"] == seeds["poor"]
    assert len(seeds["better"]) == 3
    assert len(home.trainings) == 9
    # asked again, nothing is trained; asked for more, one training of each that is left
    home.trainings.clear()
    assert home.confirm(seeds=3) == 1
    assert home.trainings == []
    assert home.confirm(seeds=4) == 1
    new = {seed for _, seed in home.trainings}
    assert len(new) == 1
    # asked for fewer, it judges by what there is
    assert home.confirm(seeds=2) == 1
    record = confirmations.read(home.study)
    assert record is not None
    assert record["seeds"] == 4
    assert new.isdisjoint(seeds["better"])
    companion = reading.find(home.database, "luck-confirm")
    trials = reading.load_trials(home.database, companion)
    assert {str(trial.number) for trial in trials} == set(companion.user_attrs[REPEATS])


def test_two_seeds_tell_nothing_apart_and_the_best_mean_wins(home: Home) -> None:
    assert home.confirm(seeds=2, top=2) == 1
    record = confirmations.read(home.study)
    assert record is not None
    assert [c["standing"] for c in record["candidates"]] == ["wins", "not told apart"]
    assert record["bound"] is None


def test_trainings_of_a_former_version_are_not_compared(home: Home) -> None:
    """Each had a seed of its own, so they are no pairs; all are trained again."""
    assert home.confirm(seeds=3) == 1
    companion = reading.find(home.database, "luck-confirm")
    with home.database.transaction() as connection:
        studies.set_attribute(connection, companion.id, "user_attrs", REPEATS, {})
    home.trainings.clear()
    assert home.confirm(seeds=3) == 1
    assert len(home.trainings) == 9
    record = confirmations.read(home.study)
    assert record is not None
    assert [len(c["values"]) for c in record["candidates"]] == [3, 3, 3]


def test_a_failed_training_puts_a_configuration_out_until_it_is_tried_again(home: Home) -> None:
    home.fail = "better"
    assert home.confirm(seeds=3) == 0
    record = confirmations.read(home.study)
    assert record is not None
    failed = next(c for c in record["candidates"] if c["number"] == 1)
    assert (failed["standing"], failed["failed"], failed["mean"]) == ("failed", 3, None)
    home.fail = ""
    steering.retry(home.database, "luck-confirm")
    assert home.confirm(seeds=3) == 1


@pytest.mark.parametrize(("budget", "expected"), [("", 6), (", max_failures: 2", 2)])
def test_two_failures_alike_do_not_pause_a_confirmation(
    database: Database, tmp_path: Path, budget: str, expected: int
) -> None:
    """They pause a study of user code up to the default; here the code has worked."""
    text = STUDY.replace("trials: 3, epochs: 1", f"trials: 3, epochs: 1{budget}")
    home = Home(database, tmp_path, text)
    assert home.confirm(seeds=3) == 1
    companion = reading.find(database, "luck-confirm")
    assert ResolvedSpec.from_json(companion.spec or {}).budget.max_failures == expected


def test_an_interrupted_confirmation_is_paused_and_goes_on(home: Home) -> None:
    assert home.confirm(seeds=3, work=lambda _: True) is None
    assert reading.find(home.database, "luck-confirm").state is StudyState.PAUSED
    assert confirmations.read(home.study) is None
    assert home.confirm(seeds=3) == 1


def test_changed_code_is_refused_before_anything_waits_for_it(home: Home) -> None:
    home.code.write_text(CODE + "# changed\n")
    with pytest.raises(BadInputError, match=r"cannot be trained here: .* has changed since"):
        home.confirm(seeds=3)
    assert home.trainings == []
    assert reading.find(home.database, "luck-confirm").state is StudyState.PAUSED
    home.code.unlink()
    with pytest.raises(BadInputError, match=r"cannot be trained here: .*there is no module"):
        home.confirm(seeds=3)
    home.code.write_text(CODE)
    assert home.confirm(seeds=3) == 1
    home.code.write_text(CODE + "# changed\n")
    assert home.confirm(seeds=3) == 1  # all is trained: no code is needed


def test_a_confirmation_is_not_confirmed(home: Home) -> None:
    assert home.confirm(seeds=3) == 1
    companion = reading.find(home.database, "luck-confirm")
    with pytest.raises(BadInputError, match=r"`luck-confirm` is a confirmation itself: for more"):
        Confirmation(home.database, home.settings, companion, Confirm())


def test_a_study_that_this_machine_does_not_serve_is_no_endless_wait(home: Home) -> None:
    with pytest.raises(TunerError, match=r"`luck-confirm` is active, and this machine's worker"):
        home.confirm(seeds=3, work=lambda _: False)


def test_changed_data_is_refused(database: Database, tmp_path: Path) -> None:
    rows = [f"{word} {number},{word}" for number in range(20) for word in ("good", "bad")]
    table = tmp_path / "reviews.csv"
    table.write_text("text,label\n" + "\n".join(rows))
    file = tmp_path / "words.yaml"
    file.write_text("name: words\nfamily: bow\ndata: {path: reviews.csv}\nbudget: {trials: 1}\n")
    settings = Settings(home=tmp_path / "home")
    study = launching.launch(database, preparing.prepare_study(database, file, settings)).study
    of = ResolvedSpec.from_json(study.spec or {})
    trainer = Trainer(database, search(database, study.id, of))
    trial = trainer.claim()
    assert trial is not None
    trainer.finish(trial)
    with database.statement() as connection:
        serving.finish_if_done(connection, [study.id], lease=LEASE)
    table.write_text("text,label\n" + "\n".join(rows[1:]))
    contest = Confirmation(database, settings, reading.find(database, "words"), Confirm())
    with pytest.raises(BadInputError, match=r"its data has changed since it was launched"):
        contest.run(lambda _: False, lambda *_: None)
    table.unlink()
    contest = Confirmation(database, settings, reading.find(database, "words"), Confirm())
    with pytest.raises(BadInputError, match=r"`words` cannot be trained here: "):
        contest.run(lambda _: False, lambda *_: None)


def test_candidates_of_an_earlier_confirmation_stay(home: Home) -> None:
    """Asked for fewer, it must not crown one that is known to be worse."""
    assert home.confirm(seeds=3, top=3) == 1
    home.trainings.clear()
    assert home.confirm(seeds=3, top=1) == 1
    assert home.trainings == []
    record = confirmations.read(home.study)
    assert record is not None
    assert sorted(c["number"] for c in record["candidates"]) == [0, 1, 2]


def test_an_experiments_best_family_is_the_one_with_the_best_confirmed_mean(home: Home) -> None:
    """A lucky value of one family must not win over the mean of another."""
    assert home.confirm(seeds=3) == 1
    study = home.study
    best = reading.load_best(home.database, study)
    record = dict(confirmations.read(study) or {})
    other = replace(study, id=study.id + 1, user_attrs={})
    assert choice.select_best_study([(other, best), (study, best)]) == (other, False)
    worse = [{**c, "mean": c["mean"] - 0.05} for c in record["candidates"]]
    other = replace(other, user_attrs={ATTRIBUTE: {**record, "candidates": worse}})
    assert choice.select_best_study([(other, best), (study, best)]) == (study, True)
    # all trials of a family failed: it has no winner that could be confirmed
    without = replace(other, id=study.id + 2, user_attrs={})
    ranked = [(other, best), (study, best), (without, None)]
    assert choice.select_best_study(ranked) == (study, True)
    assert choice.select_best_study([(without, None)]) == (without, False)
    # a better trial came after its confirmation, which says nothing of it
    newer = replace(best, number=7)
    assert choice.select_best_study([(other, best), (study, newer)]) == (other, False)
