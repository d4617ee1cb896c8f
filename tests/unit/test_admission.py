"""Who may start beside whom: real decisions over a fake driver's GPUs, without processes."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.nvidia import GIB, FakeDriver, FakeGpu
from tuner.study_file.parameters import CategoricalParameter, FloatParameter, IntParameter
from tuner.study_file.study import Resources
from tuner.worker import devices
from tuner.worker.admission import CONTEXT, Admission
from tuner.worker.assignment import Assignment
from tuner.worker.devices import Slot, host, machine
from tuner.worker.devices.nvml import Nvml
from tuner.worker.executors import Executor

SPACE = {
    "batch_size": IntParameter(low=1, high=1024, structural=True),
    "optimizer": CategoricalParameter(choices=("sgd", "adam")),
    "learning_rate": FloatParameter(low=0.0, high=1.0),
}
AUTO, ONE, TWO = Resources(per_gpu="auto"), Resources(), Resources(per_gpu=2)


class Bench:
    """A machine with one GPU, its executors and one study."""

    def __init__(self, resources: Resources) -> None:
        self.gpu = FakeGpu("GPU-a", used=0)
        self.nvml = Nvml(FakeDriver([self.gpu]))
        self.resources = resources
        spec = SimpleNamespace(resources=resources, space=SimpleNamespace(parameters=SPACE))
        self.search: Any = SimpleNamespace(study=SimpleNamespace(id=1), spec=spec)
        self.executors: list[Executor] = []

    def begin(self, choice: str = "auto", executors: int | None = None) -> None:
        self.slots = devices.slots(devices.find(choice), executors)
        self.admission = Admission(self.slots)
        for slot in self.slots:
            if not slot.spare:
                self.add(slot)

    def add(self, slot: Slot) -> Executor:
        process: Any = None  # nothing here asks it
        executor = Executor(slot, process, process, process, ready=True)
        self.executors.append(executor)
        return executor

    def learn(self, batch_size: int, peak: int, optimizer: str = "sgd") -> None:
        params = {"batch_size": batch_size, "optimizer": optimizer, "learning_rate": 0.1}
        self.admission.learn(self.search, params, self.slots[0].name, peak)

    def claim(self, executor: Executor, batch_size: int, optimizer: str = "sgd") -> bool:
        """Give an executor a trial; whether it may start."""
        params = {"batch_size": batch_size, "optimizer": optimizer, "learning_rate": 0.7}
        trial: Any = SimpleNamespace(params=params)
        train: Any = None  # nothing here sends it
        executor.assignment = Assignment(
            1,
            train,
            resources=self.resources,
            bound=self.admission.bound(self.search, trial, executor.slot),
            is_waiting=False,
        )
        return self.admission.may_start(executor, self.executors)

    def has_room(self, executor: Executor) -> bool:
        return self.admission.has_room(executor, self.resources, self.executors)

    def missing(self) -> list[int]:
        slot = self.admission.missing(self.executors, [self.search])
        return [] if slot is None else [slot.spare]


@pytest.fixture
def bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(request.param)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine, "nvml", lambda: bench.nvml)
    monkeypatch.setattr(host, "cores", lambda: 4)
    bench.begin()
    return bench


@pytest.mark.parametrize("bench", [ONE], indirect=True)
def test_by_default_a_gpu_has_one_trial(bench: Bench) -> None:
    (first,) = bench.executors
    assert bench.has_room(first)
    assert bench.claim(first, 32)
    assert bench.missing() == []


@pytest.mark.parametrize("bench", [TWO], indirect=True)
def test_a_number_is_the_users_promise(bench: Bench) -> None:
    (first,) = bench.executors
    bench.claim(first, 32)
    assert bench.missing() == [1]
    second = bench.add(bench.slots[1])
    assert bench.missing() == []  # it is idle
    assert bench.admission.threads(second, bench.executors) == 2
    assert bench.has_room(second)
    assert bench.claim(second, 32)
    assert bench.missing() == []


@pytest.mark.parametrize("bench", [AUTO], indirect=True)
def test_auto_learns_before_it_packs(bench: Bench) -> None:
    (first,) = bench.executors
    assert bench.claim(first, 32)
    assert bench.missing() == []  # nothing is known: it runs alone
    bench.learn(32, 10 * GIB)
    assert first.assignment is not None
    first.assignment.bound = None
    assert bench.missing() == []  # what it takes itself is not known
    assert bench.claim(first, 32)
    bench.gpu.used = 12 * GIB
    assert bench.missing() == [1]


@pytest.mark.parametrize("bench", [AUTO], indirect=True)
def test_auto_packs_by_bytes(bench: Bench) -> None:
    (first,) = bench.executors
    second = bench.add(bench.slots[1])
    bench.learn(32, 20 * GIB)
    assert bench.claim(first, 32)
    first.memory_used = bench.gpu.used = 22 * GIB
    assert bench.claim(second, 64)  # bounded by 46 GiB; 54 and the headroom of 4 are there
    bench.gpu.used = 40 * GIB  # somebody else's
    assert not bench.claim(second, 64)
    assert not bench.claim(second, 32, "adam")  # nothing comparable
    first.assignment = None
    assert bench.claim(second, 32, "adam")  # alone it may


@pytest.mark.parametrize("bench", [AUTO], indirect=True)
def test_who_waits_is_not_overtaken(bench: Bench) -> None:
    first, second, third = bench.executors[0], *map(bench.add, bench.slots[1:3])
    bench.learn(32, 30 * GIB)
    assert bench.claim(first, 32)
    assert not bench.claim(second, 128)
    assert second.assignment is not None
    second.assignment.is_waiting = True
    assert not bench.has_room(third)
    assert bench.missing() == []
    first.assignment = None
    assert bench.admission.may_start(second, bench.executors)


@pytest.mark.parametrize("bench", [AUTO], indirect=True)
def test_a_spare_executor_must_have_room_for_its_context(bench: Bench) -> None:
    (first,) = bench.executors
    bench.learn(32, 10 * GIB)
    bench.claim(first, 32)
    bench.gpu.used = bench.gpu.total - 4 * GIB - 10 * GIB - CONTEXT // 2
    first.memory_used = 12 * GIB
    assert bench.missing() == []
    bench.gpu.used -= CONTEXT
    assert bench.missing() == [1]


@pytest.mark.parametrize("bench", [AUTO], indirect=True)
def test_there_are_no_more_executors_than_cores(bench: Bench) -> None:
    bench.learn(32, GIB // 10)
    bench.claim(bench.executors[0], 32)
    while missing := bench.missing():
        bench.claim(bench.add(bench.slots[missing[0]]), 32)
    assert len(bench.executors) == 4


@pytest.mark.parametrize("bench", [TWO], indirect=True)
def test_spare_executors_leave_when_nobody_wants_them(bench: Bench) -> None:
    spare = bench.add(bench.slots[1])
    assert bench.admission.superfluous(bench.executors, [bench.search]) == []
    assert bench.admission.superfluous(bench.executors, []) == [spare]
    bench.claim(spare, 32)
    assert bench.admission.superfluous(bench.executors, []) == []


@pytest.mark.parametrize("bench", [ONE], indirect=True)
def test_executors_that_were_asked_for_are_not_left_idle(bench: Bench) -> None:
    bench.executors.clear()
    bench.begin(executors=3)
    for executor in bench.executors:
        assert bench.has_room(executor)
        assert bench.claim(executor, 32)


@pytest.mark.parametrize("bench", [ONE], indirect=True)
def test_on_the_cpu_cores_decide_until_memory_is_known_to_be_short(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.executors.clear()
    monkeypatch.setattr(host, "memory", lambda: 8 * GIB)
    monkeypatch.setattr(host, "free_memory", lambda: 4 * GIB)
    bench.begin("cpu")
    first, second, *_ = bench.executors
    assert len(bench.executors) == 4
    assert bench.claim(first, 32)
    assert bench.claim(second, 32)
    bench.learn(32, 2 * GIB)
    assert bench.claim(first, 32)
    assert not bench.claim(second, 32)
    first.assignment = None
    assert bench.claim(second, 32)
