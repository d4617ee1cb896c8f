"""Which trials may run together on a device: as many as `per_gpu` says, or as its memory holds.

With `per_gpu: auto` the memory that a trial will need is bounded by what trials of its study have
taken so far (`devices.packing`). A trial that does not fit yet keeps its executor and its lease
and starts when others on the device have ended; until then nobody else starts there, so that it
cannot be overtaken for ever. So does one that ran out of memory and is tried once more: it has the
device to itself. On the CPU, whose cores decide how many executors there are, a trial of which
nothing is known starts at once.
"""

from collections.abc import Iterable, Mapping, Sequence

from tuner.search.claim import ClaimedTrial, Search
from tuner.study_file.study import Resources
from tuner.trials import ParamValue
from tuner.worker.devices import Slot, memory
from tuner.worker.devices.packing import Load, Peaks, Shape, fits
from tuner.worker.executors import Executor

CONTEXT = 2**30  # bytes that another executor's CUDA context takes at most


class Admission:
    """What is known of the memory that trials need, and who may start."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = slots
        self._peaks: dict[tuple[int, str], Peaks] = {}  # by study and kind of device

    # Learning

    def learn(
        self, search: Search, params: Mapping[str, ParamValue], device: str, peak: int
    ) -> None:
        """Take note of the bytes that a trial has taken of its device."""
        if peak > 0:
            self._of(search, device).learn(_shape(search, params), peak)

    def bound(self, search: Search, trial: ClaimedTrial, slot: Slot) -> int | None:
        """Bytes that the trial will take at most; None if nothing is known."""
        found = self._of(search, slot.name).bound(_shape(search, trial.params))
        return 0 if found is None and slot.kind == "cpu" else found

    def _of(self, search: Search, device: str) -> Peaks:
        kind = device.partition(":")[0]
        return self._peaks.setdefault((search.study.id, kind), Peaks())

    # Deciding

    def has_room(
        self, executor: Executor, resources: Resources, executors: Iterable[Executor]
    ) -> bool:
        """Whether an idle executor may claim a trial of a study with these resources."""
        others = _busy_beside(executor, executors)
        if any(other.waiting is not None or other.alone for other in others):
            return False
        limits = (self._limit(executor.slot, each) for each in (resources, *_resources(others)))
        return len(others) < min(limits)

    def may_start(self, executor: Executor, executors: Iterable[Executor]) -> bool:
        """Whether the trial that an executor holds may start now."""
        others = _busy_beside(executor, executors)
        every = [executor, *others]
        if executor.alone:
            return not others
        if executor.slot.kind != "cpu" and all(r.per_gpu != "auto" for r in _resources(every)):
            return True  # the user has counted
        free, total = memory(executor.slot)
        return fits(executor.load, [o.load for o in others], free=free, total=total)

    def _limit(self, slot: Slot, resources: Resources) -> int:
        """Trials at once on the slot's device; executors that were asked for are not left idle."""
        there = [s for s in self._slots if s.name == slot.name]
        asked_for = sum(not s.spare for s in there)
        # more executors than cores would wait for each other
        most = min(len(there), slot.threads) if resources.per_gpu == "auto" else resources.per_gpu
        return max(asked_for, most)

    def threads(self, executor: Executor, executors: Iterable[Executor]) -> int:
        """CPU threads of a trial where its study does not say: spare executors share the rest's."""
        slot = executor.slot
        spare = sum(e.slot.name == slot.name and e.slot.spare > 0 for e in executors)
        return max(1, slot.threads // (1 + spare))

    # How many executors a GPU needs

    def missing(self, executors: Sequence[Executor], searches: Iterable[Search]) -> Slot | None:
        """A spare slot on which an executor would have a trial to start; one at a time."""
        taken = {executor.slot for executor in executors}
        studies = list(searches)
        for slot in self._slots:
            if not slot.spare or slot in taken:
                continue
            there = [e for e in executors if e.slot.name == slot.name]
            if any(e.study_id is None for e in there):
                continue  # an idle or a starting one comes first
            if any(self._has_use(search, slot, there) for search in studies):
                return slot
        return None

    def superfluous(
        self, executors: Sequence[Executor], searches: Iterable[Search]
    ) -> list[Executor]:
        """Idle executors on spare slots that no active study asks for."""
        if any(search.spec.resources.per_gpu != 1 for search in searches):
            return []
        return [e for e in executors if e.slot.spare and e.is_idle]

    def _has_use(self, search: Search, slot: Slot, there: Sequence[Executor]) -> bool:
        resources = search.spec.resources
        if len(there) >= min(self._limit(slot, r) for r in (resources, *_resources(there))):
            return False
        if resources.per_gpu != "auto":
            return True
        least = self._of(search, slot.name).least()
        if least is None or any(e.waiting is not None for e in there):
            return False
        free, total = memory(slot)
        return fits(Load(least + CONTEXT), [e.load for e in there], free=free, total=total)


def _busy_beside(executor: Executor, executors: Iterable[Executor]) -> list[Executor]:
    return [
        other
        for other in executors
        if other is not executor
        and other.slot.name == executor.slot.name
        and other.study_id is not None
    ]


def _resources(executors: Iterable[Executor]) -> list[Resources]:
    return [executor.resources for executor in executors]


def _shape(search: Search, params: Mapping[str, ParamValue]) -> Shape:
    """What decides how much memory a trial needs; the optimizer does by what it remembers."""
    space = search.spec.space.parameters
    return {
        name: value
        for name, value in params.items()
        if name == "optimizer" or (name in space and space[name].structural)
    }
