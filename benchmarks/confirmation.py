"""How often `tuner confirm` errs, by simulation: studies with known true means, drawn at random.

Each study has candidates with a true mean, a cost and noise from seed to seed; the search knows one
noisy value of each. `tuner.winner.elimination` confirms it round by round and chooses one. The
table shows by how much that candidate is truly worse than the best one (its regret), beside the
regret of the best search value, which is exported without a confirmation.

    python -m benchmarks.confirmation                   1,000 studies per setting, two minutes
    python -m benchmarks.confirmation --studies 10000   ten times as many

Not simulated: the search. The candidates' means are drawn independently, not by a sampler.
"""

import argparse
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tuner.winner import elimination
from tuner.winner.confirmations import ENOUGH
from tuner.winner.elimination import Candidate
from tuner.winner.expense import Expense

Noise = Literal["normal", "heavy", "uneven", "counts", "errors"]
Means = Literal["drawn", "slipped", "alike"]

EXAMPLES = 500  # of the validation part, where the metric counts them
RARE = 0.1  # errors of a typical training, where nearly all examples are right


@dataclass(frozen=True)
class Setting:
    """How the studies of one row are drawn."""

    candidates: int = 5
    seeds: int = 5
    means: Means = "drawn"  # slipped: one is better than all others, which are equal
    gap: float = 1.0  # between means, in standard deviations of a training
    noise: Noise = "normal"
    shared: float = 0.0  # of the variance: what a seed does to all configurations alike
    margin: float | None = None  # in standard deviations of a training; None: the default


@dataclass
class Outcome:
    """What happened to all studies of a setting, one entry each, in deviations of a training.

    Of the noise "errors", in errors.
    """

    regret: NDArray[np.float64]  # of what the confirmation exports
    searched: NDArray[np.float64]  # of the best search value
    bound: NDArray[np.float64]  # that the confirmation states; NaN where it states none
    margin: NDArray[np.float64]
    replaced: NDArray[np.bool_]  # whether a cheaper one replaced the best mean
    trainings: NDArray[np.float64]

    @property
    def gain(self) -> float:
        """By how much confirming is better than taking the best search value, on average."""
        return float((self.searched - self.regret).mean())

    @property
    def gain_error(self) -> float:
        """The standard error of `gain`."""
        return float((self.searched - self.regret).std() / math.sqrt(len(self.regret)))

    @property
    def broken_bounds(self) -> float:
        """The share of studies in which the stated bound is wrong."""
        return float((self.regret > self.bound).mean())

    @property
    def wrong_replacements(self) -> float:
        """The share in which a cheaper one was exported that is worse by more than the margin."""
        return float((self.replaced & (self.regret > self.margin)).mean())

    def worse_than(self, standard_errors: float, seeds: int) -> float:
        """The share in which the exported one is worse by more than so many standard errors."""
        return float((self.regret > standard_errors / math.sqrt(seeds)).mean())


def simulate(setting: Setting, studies: int, seed: int = 0) -> Outcome:
    """Draw studies and confirm each."""
    rng = np.random.default_rng(seed)
    rows = [_confirm(setting, rng) for _ in range(studies)]
    return Outcome(*(np.array(column) for column in zip(*rows, strict=True)))


def _confirm(
    setting: Setting, rng: np.random.Generator
) -> tuple[float, float, float, float, bool, float]:
    means = _means(setting, rng)
    steadiness = _steadiness(setting, rng)
    # each trial of a search has a seed of its own
    searched = means + np.diag(_noise(setting, rng, steadiness, setting.candidates))
    values = means[:, None] + _noise(setting, rng, steadiness, setting.seeds)
    if setting.noise == "counts":  # an accuracy near 0.9 whose deviation is a hundredth
        means = 0.9 + 0.01 * means
        searched, values = _counted(0.9 + 0.01 * searched), _counted(0.9 + 0.01 * values)
    elif setting.noise == "errors":  # an accuracy near 1, most trainings without any error
        errors = RARE * np.exp(-means)
        means, searched = -errors, -rng.poisson(errors).astype(float)
        values = -rng.poisson(errors[:, None], values.shape).astype(float)
    unit = 0.01 if setting.noise == "counts" else 1.0
    costs = 100 * rng.lognormal(sigma=1.0, size=setting.candidates)  # seconds
    dropped: set[int] = set()
    trainings = 0
    rounds = elimination.rounds(setting.seeds)
    verdict = None
    had = 0
    for seeds in rounds:
        trainings += (seeds - had) * (setting.candidates - len(dropped))
        had = seeds
        verdict = elimination.judge(
            [
                Candidate(
                    number=number,
                    params={},
                    searched=float(searched[number]),
                    by_seed=dict(enumerate(values[number, :seeds].tolist())),
                    expense=Expense({("cpu", 1): (float(costs[number]),)}),
                )
                for number in range(setting.candidates)
            ],
            "maximize",
            rounds=len(rounds),
            margin=None if setting.margin is None else setting.margin * unit,
            dropped=dropped,
        )
        assert verdict is not None
        dropped |= {candidate.number for candidate in verdict.dropped}
    assert verdict is not None
    best = float(means.max())
    return (
        (best - float(means[verdict.winner.number])) / unit,
        (best - float(means[int(searched.argmax())])) / unit,
        math.nan if verdict.bound is None else verdict.bound / unit,
        math.nan if verdict.margin is None else verdict.margin / unit,
        verdict.winner is not verdict.leader,
        trainings,
    )


def _means(setting: Setting, rng: np.random.Generator) -> NDArray[np.float64]:
    """In standard deviations of a training."""
    means = np.zeros(setting.candidates)
    if setting.means == "drawn":
        means = rng.normal(scale=setting.gap, size=setting.candidates)
    elif setting.means == "slipped":
        means[int(rng.integers(setting.candidates))] = setting.gap
    return means


def _steadiness(setting: Setting, rng: np.random.Generator) -> NDArray[np.float64]:
    """What the noise of each candidate is multiplied by."""
    shape = (setting.candidates, 1)
    return rng.uniform(0.2, 1.4, size=shape) if setting.noise == "uneven" else np.ones(shape)


def _noise(
    setting: Setting, rng: np.random.Generator, steadiness: NDArray[np.float64], seeds: int
) -> NDArray[np.float64]:
    """What seeds do, of variance 1: a row per candidate, a column per seed."""
    own: NDArray[np.float64]
    if setting.noise == "heavy":  # Student's t with three degrees of freedom
        own = rng.standard_t(3, size=(setting.candidates, seeds)) / math.sqrt(3)
    else:
        own = rng.normal(size=(setting.candidates, seeds))
    own *= steadiness
    alike = rng.normal(size=(1, seeds))
    return math.sqrt(1 - setting.shared) * own + math.sqrt(setting.shared) * alike


def _counted(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Accuracies as a part of so many examples has them."""
    return np.round(np.clip(values, 0.0, 1.0) * EXAMPLES) / EXAMPLES


def settings() -> Iterator[Setting]:
    """All that are simulated."""
    for candidates, seeds, gap in itertools.product(
        (2, 5, 10), (2, 3, 5, 10), (0.1, 0.3, 1.0, 3.0)
    ):
        yield Setting(candidates, seeds, "drawn", gap)
    for seeds, standard_errors in itertools.product((3, 5, 10), (1.01, 2.01, 3.01)):
        yield Setting(5, seeds, "slipped", standard_errors / math.sqrt(seeds))
    for seeds in (3, 5, 10):
        yield Setting(5, seeds, "alike", 0.0)
    kinds: tuple[Noise, ...] = ("heavy", "uneven", "counts")
    for noise, seeds, gap in itertools.product(kinds, (3, 5, 10), (0.3, 1.0)):
        yield Setting(5, seeds, "drawn", gap, noise)
    for candidates, seeds, gap in itertools.product((2, 5), (3, 5, 10), (0.3, 1.0)):
        yield Setting(candidates, seeds, "drawn", gap, "errors")
    for shared, seeds, gap in itertools.product((0.5, 0.9, 0.99), (3, 5, 10), (0.1, 0.3, 1.0)):
        yield Setting(5, seeds, "drawn", gap, shared=shared)
    for margin, seeds, gap in itertools.product((0.5, 2.0), (3, 5, 10), (0.3, 1.0)):
        yield Setting(5, seeds, "drawn", gap, margin=margin)


def main() -> None:
    """Print a row per setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1_000, help="per setting")
    studies = parser.parse_args().studies
    names = [field.name for field in fields(Setting)]
    heads = ["gain", "±", "bound wrong", "cheaper, wrong", "> 1 SE", "> 2 SE", "> 3 SE"]
    print("| " + " | ".join([*names, *heads, "replaced", "trainings"]) + " |")
    print("|---" * (len(names) + len(heads) + 2) + "|")
    for setting in settings():
        outcome = simulate(setting, studies)
        cells = [
            *(f"{value:.3g}" if isinstance(value, float) else str(value or "default")
              for value in (getattr(setting, name) for name in names)),
            f"{outcome.gain:+.3f}",
            f"{2 * outcome.gain_error:.3f}",
            f"{outcome.broken_bounds:.1%}" if setting.seeds >= ENOUGH else "–",
            f"{outcome.wrong_replacements:.1%}",
            *(f"{outcome.worse_than(errors, setting.seeds):.1%}" for errors in (1, 2, 3)),
            f"{outcome.replaced.mean():.0%}",
            f"{outcome.trainings.mean():.1f}",
        ]  # fmt: skip
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
