"""Samplers and pruners that a study file names by their class: one process proposes for all."""

import logging
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import HTTPException

from tests.support import searching
from tests.support.waiting import eventually
from tuner.accounts import Role
from tuner.commands import confirming, reading, steering
from tuner.commands.preparing import prepare_study
from tuner.dashboard.launch.check import check_allowed
from tuner.database.engine import Database
from tuner.errors import SpecError
from tuner.origin import OriginKind
from tuner.search.claim import ClaimedTrial, Search
from tuner.search.plugins import leader
from tuner.search.storage import Storage
from tuner.settings import settings
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import Report, StudyState, Trial, TrialState
from tuner.worker.consent import Consent

HEAD = """
name: s
family: function
function: train:train
objective: {metric: loss, direction: minimize}
budget: {trials: 6, epochs: 9}
search: {x: {low: 0.0, high: 1.0}, kind: [a, b]}
"""
COUNTING = """
from optuna.samplers import BaseSampler


class Counting(BaseSampler):
    '''Keeps a state that no trial holds.'''

    def __init__(self, step=0.01, seed=None):
        self.step, self.calls = step, 0

    def infer_relative_search_space(self, study, trial):
        return {}

    def sample_relative(self, study, trial, space):
        trial.system_attrs.get("none")
        study._storage.set_trial_system_attr(trial._trial_id, "seen", len(study.trials))
        self.calls += 1
        return {}

    def sample_independent(self, study, trial, name, distribution):
        return self.calls * self.step if name == "x" else "b"


class Raising(Counting):
    def sample_independent(self, study, trial, name, distribution):
        raise RuntimeError("no idea")


class Endless(Counting):
    def sample_relative(self, study, trial, space):
        import threading
        threading.Event().wait()


class Careless(Counting):
    def __init__(self):
        raise OSError("no licence")


from optuna.pruners import BasePruner


class Half(BasePruner):
    def prune(self, study, trial):
        if trial.number == 2:
            raise KeyError("what")
        best = min(t.intermediate_values.get(1, 9.0) for t in study.trials)
        study._storage.set_trial_system_attr(trial._trial_id, "judged", trial.last_step)
        return trial.intermediate_values[trial.last_step] > 2 * best
"""


class Worker:
    """One worker's part in the search of a study, without executors."""

    def __init__(self, database: Database, of: ResolvedSpec, lease: float) -> None:
        self.id = uuid.uuid4()
        study_id = reading.find(database, of.name).id
        self.search: Search = searching.search(database, study_id, of)
        self.lease = lease
        self._database = database

    def claim(self) -> ClaimedTrial | None:
        return self.search.claim(self.id, self.lease)

    def advance(self) -> None:
        self.search.advance(self.id, self.lease)

    def finish(self, trial: ClaimedTrial, value: float = 0.5, **result: Any) -> None:
        with self._database.statement() as connection:
            self.search.finish(connection, trial, TrialState.COMPLETE, [value], **result)


class Bench:
    """A study, its folder and its workers."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.workers: list[Worker] = []
        (folder / "train.py").write_text("def train(trial):\n    pass\n")
        (folder / "mine.py").write_text(COUNTING)

    def prepare(self, more: str) -> ResolvedSpec:
        file = self.folder / "s.yaml"
        file.write_text(HEAD + more)
        return prepare_study(self.database, file, settings()).spec

    def launch(self, more: str, workers: int = 1, lease: float = 3600.0) -> Sequence[Worker]:
        spec = self.prepare(more)
        searching.launch(self.database, spec)
        self.workers = [Worker(self.database, spec, lease) for _ in range(workers)]
        return self.workers

    def drawn(self, worker: Worker, trial: ClaimedTrial, *advance: Worker) -> ClaimedTrial:
        """Wait for a trial's parameters while these workers go on; all if none is named."""
        drawn: list[ClaimedTrial] = []

        def has_parameters() -> bool:
            for other in advance or self.workers:
                other.advance()
            if (ready := worker.search.drawn(trial)) is not None:
                drawn.append(ready)
            return bool(drawn)

        eventually(has_parameters)
        return drawn[0]

    def trials(self) -> list[Trial]:
        return reading.load_trials(self.database, reading.find(self.database, "s"))


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(database, tmp_path)
    yield made
    for worker in made.workers:
        worker.search.close()


def test_one_process_proposes_for_all_workers_in_the_order_of_the_trials(bench: Bench) -> None:
    workers = bench.launch("sampler: {class: 'mine:Counting', options: {step: 0.1}}\n", 2)
    claimed = [(w, t) for _ in range(3) for w in workers if (t := w.claim()) is not None]

    assert [trial.number for _, trial in claimed] == [0, 1, 2, 3, 4, 5]
    assert workers[0].claim() is None  # the budget is exact
    for worker, trial in claimed:
        drawn = bench.drawn(worker, trial)
        assert drawn.params == {"x": pytest.approx(0.1 * (trial.number + 1)), "kind": "b"}
        worker.finish(drawn)
    stored = bench.trials()
    assert [t.params["x"] for t in stored] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert all(t.state is TrialState.COMPLETE for t in stored)


def test_a_leader_without_a_trial_that_waits_sees_those_of_others(bench: Bench) -> None:
    first, second = bench.launch("sampler: 'mine:Counting'\n", 2)
    trial = first.claim()
    assert trial is not None
    bench.drawn(first, trial, first)  # which trains in silence from now on
    trial = second.claim()
    assert trial is not None

    assert bench.drawn(second, trial, first).params["x"] == pytest.approx(0.02)


def test_another_worker_takes_over_and_nothing_is_lost_or_doubled(bench: Bench) -> None:
    first, second = bench.launch("sampler: 'mine:Counting'\n", 2, lease=1.0)
    (a, b) = (first.claim(), second.claim())
    assert a is not None
    assert b is not None
    before = [bench.drawn(first, a, first).params["x"], bench.drawn(second, b, first).params["x"]]
    lost, waiting = first.claim(), second.claim()  # and the first worker does nothing any more
    assert lost is not None
    assert waiting is not None

    assert before == pytest.approx([0.01, 0.02])
    assert bench.drawn(second, waiting, second).params["x"] == pytest.approx(0.02)
    stored = bench.trials()
    # made anew, it begins to count again, and has proposed for the trial of the lost worker, too
    assert [t.params["x"] for t in stored] == pytest.approx([0.01, 0.02, 0.01, 0.02])


def test_a_worker_that_stops_lets_another_lead_at_once(bench: Bench) -> None:
    first, second = bench.launch("sampler: 'mine:Counting'\n", 2)
    trial = first.claim()
    assert trial is not None
    bench.drawn(first, trial, first)
    first.search.close()
    trial = second.claim()
    assert trial is not None

    assert bench.drawn(second, trial, second).params["kind"] == "b"


def test_a_sampler_that_is_made_anew_does_not_draw_the_same_again(bench: Bench) -> None:
    first, second = bench.launch("sampler: 'optuna.samplers:TPESampler'\n", 2)
    for _ in range(2):
        trial = first.claim()
        assert trial is not None
        first.finish(bench.drawn(first, trial, first))
    first.search.close()
    for _ in range(2):
        trial = second.claim()
        assert trial is not None
        second.finish(bench.drawn(second, trial, second))

    assert len({trial.params["x"] for trial in bench.trials()}) == 4


def test_optunas_grid_ends_the_study_when_it_is_used_up(bench: Bench) -> None:
    grid = "{x: [0.0, 0.5], kind: [a, b]}"
    (worker,) = bench.launch(
        f"sampler: {{class: 'optuna.samplers:GridSampler', options: {{search_space: {grid}}}}}\n"
    )
    for _ in range(4):
        trial = worker.claim()
        assert trial is not None
        worker.finish(bench.drawn(worker, trial))
    tried = {(t.params["x"], t.params["kind"]) for t in bench.trials()}

    assert tried == {(0.0, "a"), (0.0, "b"), (0.5, "a"), (0.5, "b")}
    last = worker.claim()
    assert last is not None
    bench.drawn(worker, last)
    assert worker.search.reason_to_end() == ("optuna.samplers:GridSampler has nothing left to try")


def test_what_is_enqueued_is_kept_and_the_rest_is_drawn(bench: Bench) -> None:
    (worker,) = bench.launch("sampler: 'mine:Counting'\n")
    steering.enqueue(bench.database, "s", {"kind": "a"})
    trial = worker.claim()
    assert trial is not None

    assert bench.drawn(worker, trial).params == {"x": pytest.approx(0.01), "kind": "a"}


def test_a_sampler_that_raises_is_replaced_by_chance_and_the_study_pauses(bench: Bench) -> None:
    (worker,) = bench.launch("sampler: 'mine:Raising'\n")
    for _ in range(5):
        trial = worker.claim()
        assert trial is not None
        bench.drawn(worker, trial)
    study = reading.find(bench.database, "s")

    assert study.state is StudyState.PAUSED
    assert study.reason == "mine:Raising: the sampler raised RuntimeError: no idea"
    assert reading.describe_fallbacks(bench.database, study) == (
        "5 trials were drawn without the sampler's model: the sampler raised RuntimeError: no idea"
    )
    origin = bench.trials()[0].origin
    assert origin is not None
    assert (origin.kind, origin.reason) == (
        OriginKind.RANDOM,
        "the sampler raised RuntimeError: no idea",
    )


def test_a_sampler_that_never_answers_is_killed_and_the_study_pauses(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leader, "PATIENCE", 0.1)
    (worker,) = bench.launch("sampler: 'mine:Endless'\n")
    assert worker.claim() is not None

    def is_paused() -> bool:
        worker.advance()
        return reading.find(bench.database, "s").state is StudyState.PAUSED

    eventually(is_paused)
    assert reading.find(bench.database, "s").reason == (
        "sampler mine:Endless: its process ended 3 times without answer"
    )


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ("sampler: 'mine:Careless'\n", "sampler mine:Careless: OSError: no licence"),
        (
            "sampler: {class: 'mine:Counting', options: {gama: 3}}\n",
            "sampler mine:Counting: TypeError: Counting.__init__() got an unexpected keyword "
            "argument 'gama'",
        ),
        (
            "sampler: 'mine:Half'\n",
            "sampler mine:Half: is no BaseSampler of Optuna, but Half",
        ),
    ],
)
def test_a_class_that_cannot_be_used_pauses_the_study(
    bench: Bench, section: str, reason: str
) -> None:
    (worker,) = bench.launch(section)
    assert worker.claim() is not None

    def is_paused() -> bool:
        worker.advance()
        return reading.find(bench.database, "s").state is StudyState.PAUSED

    eventually(is_paused)
    assert (reading.find(bench.database, "s").reason or "").startswith(reason)


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ("sampler: 'mine:Countin'\n", "`mine` defines no `Countin`; did you mean `Counting`?"),
        ("sampler: 'nowhere:It'\n", "there is no module `nowhere` in"),
        (
            "pruner: 'optuna.pruners:HyperbandPrunr'\n",
            "the installed `optuna.pruners` defines no `HyperbandPrunr`; did you mean "
            "`HyperbandPruner`?",
        ),
        (
            "sampler: 'optuna.pruners:NopPruner'\n",
            "`optuna.pruners:NopPruner` is a pruner, not a sampler; name one, such as "
            "optuna.samplers:TPESampler",
        ),
        (
            "sampler: 'optuna.samplers:BaseSampler'\n",
            "`optuna.samplers:BaseSampler` is no sampler that can be used; name one, such as",
        ),
        (
            "sampler: {class: 'optuna.samplers:TPESampler', options: {gama: 3}}\n",
            "TPESampler takes no argument `gama`; did you mean `gamma`?",
        ),
        ("pruner: 'optuna.pruners:PercentilePruner'\n", "PercentilePruner needs `percentile`"),
        ("sampler: 'optunahub:samplers/auto_sampler'\n", "needs the package optunahub, which is"),
    ],
)
def test_a_class_that_is_not_there_is_refused_at_launch(
    bench: Bench, section: str, sentence: str
) -> None:
    with pytest.raises(SpecError) as raised:
        bench.prepare(section)

    assert sentence in str(raised.value)
    assert f"s.yaml:8: {section.partition(':')[0]}" in str(raised.value)


def test_a_pruner_of_ones_own_decides_with_all_trials(bench: Bench) -> None:
    first, second = bench.launch("pruner: 'mine:Half'\n", 2)
    trials = [(w, w.claim()) for w in (first, second, first, second)]

    def ask(place: int, value: float) -> bool:
        worker, trial = trials[place]
        assert trial is not None
        worker.search.refresh()
        decision = worker.search.should_prune(trial, Report(1, value))
        with bench.database.statement() as connection:
            worker.search.report(
                connection, trial, [Report(1, value)], lease=searching.LEASE, flush=True
            )
        return decision

    assert ask(0, 1.0) is False
    assert ask(1, 1.5) is False
    assert ask(2, 99.0) is False  # it raises, and the trial goes on
    assert ask(3, 2.5) is True
    storage = Storage(bench.database)
    (study,) = storage.get_all_studies()
    noted = storage.get_all_trials(study._study_id)[1].system_attrs
    assert noted["judged"] == 1  # for the processes of other workers


def test_a_worker_runs_a_class_only_if_it_may_and_the_file_is_as_it_was(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    spec = bench.prepare("sampler: 'mine:Counting'\n")
    searching.launch(bench.database, spec)
    study = reading.find(bench.database, "s")
    logging.getLogger("tuner").propagate = True  # a command line in this process has configured it

    assert Consent(allow_code=True).allows_classes(study, spec)
    assert not Consent(allow_code=False).allows_classes(study, spec)
    assert "its sampler or pruner is a class of its choice; start the worker with" in caplog.text
    (bench.folder / "mine.py").write_text(COUNTING + "# changed\n")
    assert not Consent(allow_code=True).allows_classes(study, spec)
    assert "has changed since the study was launched" in caplog.messages[-1]


def test_only_admins_launch_classes(bench: Bench) -> None:
    spec = bench.prepare("sampler: 'optuna.samplers:CmaEsSampler'\n")
    board: Any = SimpleNamespace(access=SimpleNamespace(login=True), settings=settings())
    spec = spec.model_copy(update={"family": "cnn"})

    with pytest.raises(HTTPException, match="only admins may launch studies that run user code"):
        check_allowed(board, spec, SimpleNamespace(role=Role.OPERATOR))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "section",
    [
        "sampler: 'mine:Counting'\npruner: 'mine:Half'\n",
        "sampler: {name: nsga2, options: {population_size: 8}}\n",
        "pruner: {name: rungs, resume: true}\n",
    ],
)
def test_a_confirmation_needs_neither_the_sampler_nor_the_pruner(
    bench: Bench, section: str
) -> None:
    searching.launch(bench.database, bench.prepare(section))
    study = reading.find(bench.database, "s")
    companion = confirming._find_or_create_companion(bench.database, study)

    spec = ResolvedSpec.from_json(companion.spec or {})
    assert (spec.sampler.name, spec.pruner.name, spec.classes) == ("random", "none", {})
