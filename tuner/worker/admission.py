"""Which trials may run together on a device: as many as `per_gpu` says, or as its memory holds.

With `per_gpu: auto` the memory that a trial will need is bounded by what trials of its study have
taken so far (`devices.packing`). A trial that does not fit yet keeps its executor and its lease
and starts when others on the device have ended; until then nothing else starts there, so it cannot
be overtaken forever. The same goes for a trial that ran out of memory and is tried once more: it
gets the device to itself. On the CPU, where the cores decide how many executors there are, a trial
of which nothing is known starts at once.
"""

from collections.abc import Iterable, Mapping, Sequence

from tuner.search.claim import ClaimedTrial, Search
from tuner.study_file.study import Resources
from tuner.trials import ParamValue
from tuner.worker.assignment import Assignment
from tuner.worker.devices import Slot, memory
from tuner.worker.devices.packing import Load, Peaks, Shape, fits
from tuner.worker.executors import Executor

CONTEXT = 2**30  # bytes that another executor's CUDA context takes at most


class Admission:
    """What is known of the memory that trials need, and which trials may start."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = slots
        self._peaks: dict[tuple[int, str], Peaks] = {}  # by study and kind of device

    # Learning

    def learn(
        self, search: Search, params: Mapping[str, ParamValue], device: str, peak: int
    ) -> None:
        """Take note of the bytes of its device's memory that a trial has taken."""
        if peak > 0:
            self._peaks_of(search, device).learn(_shape(search, params), peak)

    def bound(self, search: Search, trial: ClaimedTrial, slot: Slot) -> int | None:
        """The most bytes that the trial will take; None if nothing is known."""
        bound = self._peaks_of(search, slot.name).bound(_shape(search, trial.params))
        return 0 if bound is None and slot.kind == "cpu" else bound

    def _peaks_of(self, search: Search, device: str) -> Peaks:
        kind = device.partition(":")[0]
        return self._peaks.setdefault((search.study.id, kind), Peaks())

    # Deciding

    def has_room(
        self, executor: Executor, resources: Resources, executors: Iterable[Executor]
    ) -> bool:
        """Whether an idle executor may claim a trial of a study with these resources."""
        others = _assignments(_beside(executor, executors))
        if any(other.is_waiting or other.is_exclusive for other in others):
            return False
        return len(others) < min(
            self._limit(executor.slot, each) for each in (resources, *_resources(others))
        )

    def may_start(self, executor: Executor, executors: Iterable[Executor]) -> bool:
        """Whether the trial that is assigned to an executor may start now."""
        assert executor.assignment is not None
        busy = [other for other in _beside(executor, executors) if other.assignment is not None]
        if executor.assignment.is_exclusive:
            return not busy
        resources = _resources(_assignments([executor, *busy]))
        if executor.slot.kind != "cpu" and all(each.per_gpu != "auto" for each in resources):
            return True  # the user has counted
        free, total = memory(executor.slot)
        return fits(executor.load, [other.load for other in busy], free=free, total=total)

    def _limit(self, slot: Slot, resources: Resources) -> int:
        """Trials at once on the slot's device; executors the user asked for are not left idle."""
        on_device = [each for each in self._slots if each.name == slot.name]
        asked_for = sum(not each.spare for each in on_device)
        # with more executors than cores they would wait for each other
        by_cores = min(len(on_device), slot.threads)
        return max(asked_for, by_cores if resources.per_gpu == "auto" else resources.per_gpu)

    def threads(self, executor: Executor, executors: Iterable[Executor]) -> int:
        """CPU threads of a trial whose study does not say: spare executors take their share."""
        slot = executor.slot
        spare = sum(e.slot.name == slot.name and e.slot.spare > 0 for e in executors)
        return max(1, slot.threads // (1 + spare))

    # How many executors a GPU needs

    def missing(self, executors: Sequence[Executor], searches: Iterable[Search]) -> Slot | None:
        """A spare slot on which an executor would have a trial to start; one at a time."""
        occupied = {executor.slot for executor in executors}
        studies = list(searches)
        for slot in self._slots:
            if not slot.spare or slot in occupied:
                continue
            on_device = [e for e in executors if e.slot.name == slot.name]
            if any(e.assignment is None for e in on_device):
                continue  # an idle or a starting one comes first
            if any(self._has_use(search, slot, on_device) for search in studies):
                return slot
        return None

    def superfluous(
        self, executors: Sequence[Executor], searches: Iterable[Search]
    ) -> list[Executor]:
        """Idle executors on spare slots that no active study asks for."""
        if any(search.spec.resources.per_gpu != 1 for search in searches):
            return []
        return [e for e in executors if e.slot.spare and e.is_idle]

    def _has_use(self, search: Search, slot: Slot, busy: Sequence[Executor]) -> bool:
        """Whether one more executor beside the busy ones would have a trial to start."""
        resources = search.spec.resources
        assignments = _assignments(busy)
        if len(busy) >= min(self._limit(slot, r) for r in (resources, *_resources(assignments))):
            return False
        if resources.per_gpu != "auto":
            return True
        least = self._peaks_of(search, slot.name).least()
        if least is None or any(assignment.is_waiting for assignment in assignments):
            return False
        free, total = memory(slot)
        return fits(Load(least + CONTEXT), [e.load for e in busy], free=free, total=total)


def _beside(executor: Executor, executors: Iterable[Executor]) -> list[Executor]:
    """The other executors on its device."""
    return [e for e in executors if e is not executor and e.slot.name == executor.slot.name]


def _assignments(executors: Iterable[Executor]) -> list[Assignment]:
    return [e.assignment for e in executors if e.assignment is not None]


def _resources(assignments: Iterable[Assignment]) -> list[Resources]:
    return [assignment.resources for assignment in assignments]


def _shape(search: Search, params: Mapping[str, ParamValue]) -> Shape:
    """What decides how much memory a trial needs: the optimizer, too, keeps state."""
    space = search.spec.space.parameters
    return {
        name: value
        for name, value in params.items()
        if name == "optimizer" or (name in space and space[name].structural)
    }
