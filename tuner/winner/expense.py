"""What training a configuration costs, without cold starts.

The first training of a study in an executor pays for imports, the device's context and loading the
data; an attempt that resumed a checkpoint measured only a part of its training. Neither shows the
configuration's cost. Seconds are comparable only on the same device with as many threads.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median

from tuner.trials import COLD_START, TRAINING_SECONDS, Trial

# Costs that differ by less than this factor, or by fewer seconds, count as equal
ALIKE = 1.1
ALIKE_SECONDS = 0.1

Place = tuple[str, int]  # device, threads


@dataclass(frozen=True, slots=True)
class Expense:
    """Seconds of a configuration's trainings, by where they ran, without cold starts."""

    by_place: Mapping[Place, tuple[float, ...]] = field(default_factory=dict)

    @property
    def seconds(self) -> float | None:
        """Median seconds where most trainings ran; None if all were cold starts."""
        if not self.by_place:
            return None
        return median(
            self.by_place[max(self.by_place, key=lambda place: len(self.by_place[place]))]
        )


UNKNOWN = Expense()


def measure_expense(trials: Iterable[Trial]) -> Expense:
    """Measure the expense of these complete trials of one configuration."""
    by_place: dict[Place, list[float]] = defaultdict(list)
    for trial in trials:
        attrs = trial.user_attrs
        seconds = attrs.get(TRAINING_SECONDS)
        if not isinstance(seconds, int | float) or attrs.get(COLD_START) or trial.attempt != 1:
            continue
        by_place[str(attrs.get("device")), int(attrs.get("threads", 1))].append(float(seconds))
    return Expense({place: tuple(seconds) for place, seconds in by_place.items()})


def is_cheaper(a: Expense, b: Expense) -> bool:
    """Whether `a` measurably costs less than `b`."""
    shared = a.by_place.keys() & b.by_place.keys()
    if not shared:
        return False
    place = max(shared, key=lambda p: (min(len(a.by_place[p]), len(b.by_place[p])), p))
    cost_a, cost_b = median(a.by_place[place]), median(b.by_place[place])
    return cost_a * ALIKE < cost_b and cost_a + ALIKE_SECONDS < cost_b
