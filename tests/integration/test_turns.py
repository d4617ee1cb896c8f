"""Whose turn it is: priority, then even shares, then who has waited; decided by the database."""

import uuid
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import event, text

from tests.support.bench import Bench
from tests.support.searching import launch, spec
from tuner.commands import changing, reading
from tuner.database import claims, leases, serving, studies
from tuner.database.engine import Database
from tuner.errors import SpecError
from tuner.settings import Settings
from tuner.trials import Cause, Limits, StudyState
from tuner.worker.loop import Worker

LEASE = 60.0


class Studies:
    """Several studies and who claims of them."""

    def __init__(self, database: Database, **limits: Limits) -> None:
        self.benches = {
            name: Bench(database, name, **{f: getattr(its, f) for f in Limits.__slots__})
            for name, its in limits.items()
        }
        self.names = {bench.id: name for name, bench in self.benches.items()}
        self._database = database

    def in_turn(self, **labels: str) -> list[str]:
        with self._database.statement() as connection:
            ids = serving.in_turn(connection, list(self.names), labels=labels, lease=LEASE)
        return [self.names[id_] for id_ in ids]

    def claim(self) -> tuple[str, claims.Claim]:
        name = self.in_turn()[0]
        return name, self.benches[name].claim()


def test_the_higher_priority_comes_first(database: Database) -> None:
    of = Studies(database, low=Limits(), high=Limits(priority=5, max_trials=2))
    assert [of.claim()[0] for _ in range(3)] == ["high", "high", "low"]


def test_studies_share_the_devices_evenly(database: Database) -> None:
    of = Studies(database, a=Limits(), b=Limits(), c=Limits())
    claims = [of.claim() for _ in range(9)]
    assert Counter(name for name, _ in claims) == {"a": 3, "b": 3, "c": 3}
    for name, claimed in claims:
        if name == "b":
            of.benches[name].finish(claimed)
    assert [of.claim()[0] for _ in range(3)] == ["b"] * 3


def test_on_one_device_they_take_turns(database: Database) -> None:
    of = Studies(database, a=Limits(), b=Limits())
    turns = []
    for _ in range(6):
        name, claimed = of.claim()
        of.benches[name].finish(claimed)
        turns.append(name)
    assert turns == ["a", "b"] * 3


def test_only_who_may_have_something_to_give_is_named(database: Database) -> None:
    of = Studies(
        database,
        given_out=Limits(max_trials=1),
        busy=Limits(max_concurrent=1),
        late=Limits(hours=0.0),
        few_epochs=Limits(max_epochs=15, trial_epochs=10),
        few_seconds=Limits(max_seconds=62.0),
        labelled=Limits(labels={"gpu": "h200"}),
        paused=Limits(),
        free=Limits(priority=-1),
    )
    claims = {name: of.benches[name].claim() for name in ("given_out", "busy", "few_epochs")}
    of.benches["few_seconds"].claim()
    of.benches["paused"].do(
        studies.set_state, of.benches["paused"].id, StudyState.PAUSED, allowed=["active"]
    )
    assert of.in_turn() == ["free"]
    assert of.in_turn(gpu="h200") == ["labelled", "free"]
    for name, claimed in claims.items():  # what is interrupted may go on
        of.benches[name].do(leases.requeue, claimed, Cause.PREEMPTED)
    assert set(of.in_turn()) == {"given_out", "busy", "few_epochs", "free"}


def test_an_idle_worker_asks_the_same_few_questions_however_many_studies_there_are(
    database: Database, tmp_path: Any
) -> None:
    sent: list[str] = []

    def idle() -> int:
        worker = Worker(database, Settings(home=tmp_path, listen=False), [])
        event.listen(worker._database.engine, "before_cursor_execute", lambda *a: sent.append(a[2]))
        worker._look_at_studies()
        worker._claim_for(None)  # type: ignore[arg-type] - it gets nothing
        sent.clear()
        worker._look_at_studies()
        worker._claim_for(None)  # type: ignore[arg-type]
        worker._database.close()
        return len(sent)

    def make_busy(name: str) -> None:
        """A study that is given out and has finished trials and one that runs."""
        id_ = launch(database, spec(name, trials=101))
        with database.transaction() as connection:
            for statement in (
                "UPDATE tuner.studies SET issued = 101 WHERE id = :id",
                "INSERT INTO tuner.trials (study_id, number, state) "
                "SELECT :id, n, CASE n WHEN 0 THEN 'running' ELSE 'complete' END "
                "FROM generate_series(0, 100) n",
            ):
                connection.execute(text(statement), {"id": id_})

    launch(database, spec("not ours", more="resources: {labels: {gpu: none}}"))
    make_busy("one")
    single = idle()
    for number in range(5):
        make_busy(f"busy-{number}")
    assert idle() == single <= 5


# Changing a study


def test_a_change_is_obeyed_by_the_next_claim(database: Database) -> None:
    id_ = launch(database, spec("s", trials=1))
    changes = changing.change(
        database, "s", ["budget.trials=5", "resources.priority=3", "resources.labels.gpu=x"]
    ).changes
    assert changes == (
        "budget.trials: 1 → 5",
        "resources.priority: 0 → 3",
        "resources.labels.gpu: not set → x",
    )
    with database.statement() as connection:
        study = studies.by_id(connection, id_)
        space = connection.execute(
            text(
                "INSERT INTO tuner.spaces (study_id, digest, distributions, names, texts) "
                "VALUES (:id, '', '[]', '{}', '{}') RETURNING id"
            ),
            {"id": id_},
        ).scalar_one()
        claimed = [
            claims.claim(
                connection, id_, worker_id=uuid.uuid4(), key=uuid.uuid4(), lease=LEASE,
                space_id=space, params=[], labels=labels,
            )
            for labels in ({}, {"gpu": "x"}, {"gpu": "x"})
        ]  # fmt: skip
    assert (study.max_trials, study.priority, study.labels) == (5, 3, {"gpu": "x"})
    assert study.spec is not None
    assert study.spec["resources"]["labels"] == {"gpu": "x"}
    assert [claim is not None for claim in claimed] == [False, True, True]


def test_a_finished_study_goes_on_with_a_larger_budget(database: Database) -> None:
    id_ = launch(database, spec("s", trials=1))
    with database.statement() as connection:
        studies.set_state(connection, id_, StudyState.FINISHED, allowed=[StudyState.ACTIVE])
    assert changing.change(database, "s", ["budget.trials=1"]).changes == ()
    assert reading.find(database, "s").state is StudyState.FINISHED
    assert changing.change(database, "s", ["budget.trials=2"]).study.state is StudyState.ACTIVE


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        ("budget.trials=0", "budget.trials: must be at least 1, is `0`"),
        ("budget.trails=3", "`budget.trails` cannot be changed; did you mean `budget.trials`?"),
        ("budget.epochs=3", "`budget.epochs` cannot be changed; did you mean"),
        ("search.depth=3", "`search.depth` cannot be changed; what can be is budget.trials,"),
        ("budget.total_epochs=3", "budget.total_epochs: must be at least the epochs of one trial"),
        ("budget.trials", "must be a name, `=` and a value; write it as in `budget.trials=20`"),
        ("resources.labels.gpu=b/c", "resources.labels.gpu: must be a label:"),
    ],
)
def test_what_cannot_be_changed_is_said_and_changes_nothing(
    database: Database, field: str, sentence: str
) -> None:
    launch(database, spec("s", trials=9))
    with pytest.raises(SpecError) as error:
        changing.change(database, "s", ["budget.trials=5", field])
    assert sentence in str(error.value)
    assert reading.find(database, "s").max_trials == 9


def test_nothing_but_the_trials_of_a_study_of_optunas_can_be_changed(database: Database) -> None:
    with database.transaction() as connection:
        studies.create(connection, "o", ["minimize"])
    with pytest.raises(SpecError, match="was made through Optuna"):
        changing.change(database, "o", ["budget.trials=5", "resources.priority=1"])
    assert reading.find(database, "o").max_trials is None
    changing.change(database, "o", ["budget.trials=5"])
    assert reading.find(database, "o").max_trials == 5
