"""The simulation that judges searches: its clock, its tables and its statistics."""

import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.search import tables
from benchmarks.search.drivers import warm_start
from benchmarks.search.figures import Picture
from benchmarks.search.guard import problems
from benchmarks.search.methods import METHODS, make
from benchmarks.search.packing import pack, unpack
from benchmarks.search.page import BEGIN, END, replaced
from benchmarks.search.simulation import INACTIVE, Answer, Run, Table, rows, simulate
from benchmarks.search.statistics import Ratio, _hypervolume, compare, ratio
from benchmarks.search.store import Store
from benchmarks.search.study import Study

GRID = {"algorithm": 2, "rate": 3, "depth": 2}
WHEN = {"rate": {"algorithm": (0,)}, "depth": {"algorithm": (1,)}}


def curves(*losses: list[float], **options: object) -> Table:
    """A table of one parameter; epochs of its k-th value take k + 1 seconds."""
    return Table(
        "curves",
        {"x": len(losses)},
        frozenset(),
        np.array(losses, np.float32),
        np.arange(1, len(losses) + 1, dtype=np.float32),
        **options,  # type: ignore[arg-type]
    )


class Scripted:
    """Tries rows in order; answers what a test says, by trial and epoch."""

    def __init__(self, numbers: list[tuple[int, int]], answers: dict[tuple[int, int], Answer]):
        self._numbers = iter(numbers)
        self._answers = answers
        self.reports: list[tuple[int, int, float, float]] = []

    def ask(self) -> tuple[int, int] | None:
        return next(self._numbers, None)

    def tell(self, number: int, epoch: int, loss: float, now: float) -> Answer:
        self.reports.append((number, epoch, loss, now))
        return self._answers.get((number, epoch), "go on")


def test_a_dimension_exists_only_under_its_condition() -> None:
    x = INACTIVE
    expected = [[0, 0, x], [0, 1, x], [0, 2, x], [1, x, 0], [1, x, 1]]
    assert rows(GRID, WHEN).tolist() == expected
    table = Table("t", GRID, frozenset(), np.zeros((5, 1), np.float32), np.ones(5), when=WHEN)
    assert [table.index(table.values(row)) for row in range(5)] == [0, 1, 2, 3, 4]
    assert table.values(4) == {"algorithm": 1, "depth": 1}
    with pytest.raises(ValueError, match="has no configuration"):
        table.index({"algorithm": 1, "rate": 0})


def test_trials_pause_resume_and_end_on_the_clock() -> None:
    table = curves([0.5, 0.4, 0.3], [0.2, 0.1, 0.05])
    method = Scripted([(0, 0), (1, 1), (0, 0)], {(0, 1): "pause", (1, 2): "end"})
    run = simulate(table, method, workers=1, horizon=9.0)
    assert method.reports == [
        (0, 1, pytest.approx(0.5), 1.0),
        (1, 1, pytest.approx(0.2), 3.0),
        (1, 2, pytest.approx(0.1), 5.0),
        (0, 2, pytest.approx(0.4), 6.0),  # goes on where it paused
        (0, 3, pytest.approx(0.3), 7.0),
    ]
    assert (run.trials, run.full_trials, run.epochs, run.finished) == (2, 1, 5, [0])
    assert run.time_to(0.1001) == 5.0
    assert run.time_to(0.01) is None
    assert run.best_at(4.0) == pytest.approx(0.2)
    assert run.best_after(0) == pytest.approx(0.2)  # of the trial that ended as the second
    assert run.best_after(1) == pytest.approx(0.1)


def test_a_diverged_trial_ends_and_counts_for_nothing() -> None:
    table = curves([0.5, math.nan], [math.nan, math.nan])
    assert table.quality.tolist() == [math.inf, math.inf]
    method = Scripted([(0, 0), (1, 1)], {})
    run = simulate(table, method, workers=2, horizon=10.0)
    assert [report[:2] for report in method.reports] == [(0, 1), (1, 1), (0, 2)]
    assert run.finished == []


def test_the_incumbent_of_a_noisy_table_is_worth_its_mean() -> None:
    seeds = np.array([[[0.1], [0.9]], [[0.4], [0.4]]], np.float32)  # of two configurations
    table = Table("noisy", {"x": 2}, frozenset(), seeds, np.ones(2, np.float32))
    assert table.quality.tolist() == pytest.approx([0.5, 0.4])
    for seed in range(4):
        method = Scripted([(0, 0)], {})
        run = simulate(table, method, workers=1, horizon=1.5, seed=seed)
        assert method.reports[0][2] in (pytest.approx(0.1), pytest.approx(0.9))
        assert run.best_at(1.0) == pytest.approx(0.5)


def test_packed_tables_keep_counts_and_almost_all_of_numbers(tmp_path: Path) -> None:
    seconds = np.geomspace(0.01, 5.0, 50).astype(np.float32)
    counts = np.arange(50, dtype=np.uint16)[:, None]
    pack(tmp_path / "t.npz", {"losses": counts, "out_of": np.array(100), "seconds": seconds})
    arrays = unpack(tmp_path / "t.npz")
    assert arrays["losses"][:, 0].tolist() == pytest.approx((np.arange(50) / 100).tolist())
    assert arrays["seconds"] == pytest.approx(seconds, rel=0.02)


def test_a_ratio_is_judged_by_its_interval() -> None:
    same = ratio({seed: [math.log(2.0)] * 3 for seed in range(5)})
    assert (same.value, same.low, same.high) == pytest.approx((2.0, 2.0, 2.0))
    assert same.against(1.9) == "met"
    assert same.against(2.1) == "not met"
    assert Ratio(2.0, 1.5, 2.5).against(2.0) == "not told apart"
    assert ratio({seed: [math.log(2.0)] for seed in range(4)}).against(1.9) == "too few seeds"
    assert Ratio(2.0, 1.5, 2.5, is_bound=True).against(3.0) == "not told apart"


def test_times_count_to_the_horizon_where_a_target_is_not_reached() -> None:
    study = Study("curves", "tuner random + rungs", "noise only", 0, 16)
    other = Study("curves", "tuner gp + rungs", "noise only", 0, 16)

    def run(time: float | None) -> Run:
        improvements = [] if time is None else [(time, 0, 0.0)]
        return Run(improvements, 80.0, 80.0, 1, 0, 1, 1, [], 0.0)

    default, peer = other.method, study.method
    reached = compare({other: run(10.0), study: run(40.0)}, default, peer, "time to 1 %")
    assert reached is not None
    assert (reached.value, reached.is_bound) == (pytest.approx(4.0), False)
    bound = compare({other: run(10.0), study: run(None)}, default, peer, "time to 1 %")
    assert bound is not None
    assert (bound.value, bound.is_bound) == (pytest.approx(8.0), True)
    assert compare({other: run(None), study: run(None)}, default, peer, "time to 1 %") is None


def test_trials_to_a_target_count_to_the_last() -> None:
    studies = [Study("trials", name, "kc1", 0, 16, 0.0, 80) for name in ("tuner gp", "tuner tpe")]
    task = tables.load("kc1")
    best, middle = float(task.ranked[0]), float(np.median(task.ranked))
    runs = [
        Run([(1.0, 3, middle), (9.0, count, best)], 9.0, 9.0, 80, 80, 80, 80, [], 0.0)
        for count in (10, 30)
    ]
    by_study = dict(zip(studies, runs, strict=True))
    ratio = compare(by_study, "tuner gp", "tuner tpe", "trials to 1 %")
    assert ratio is not None and ratio.value == pytest.approx(3.0)
    same = compare(by_study, "tuner gp", "tuner tpe", "equivalents at 80")
    assert same is not None and same.value == pytest.approx(1.0)


def test_hypervolume_is_the_dominated_area() -> None:
    points = np.array([[0.1, 0.3], [0.3, 0.1], [0.4, 0.4], [0.9, 0.0]])
    assert _hypervolume(points) == pytest.approx(0.4 * 0.2 + 0.2 * 0.2)


def test_results_are_kept_for_the_code_they_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies = [Study("trials", "tuner random", "kc1", seed, 4, 0.0, 5) for seed in range(2)]
    run = {**studies[0].run().__dict__, **studies[0].__dict__}
    path = tmp_path / "results.jsonl"
    Store(path).add(run)
    store = Store(path)
    assert store.missing(studies) == studies[1:]
    assert store.select(studies)[studies[0]].trials >= 5
    monkeypatch.setattr("benchmarks.search.store.version", lambda *_: "other")
    assert Store(path).missing(studies) == studies
    assert Store(path, any_version=True).missing(studies) == studies[1:]


@pytest.mark.parametrize(
    "name", [name for name, spec in METHODS.items() if spec.driver == "tuner:Tuner"]
)
def test_every_search_of_tuner_runs(name: str) -> None:
    sizes = {"a": 3, "kind": 2, "b": 5, "c": 4}
    when = {"b": {"kind": (0,)}, "c": {"kind": (1,)}}
    count = len(rows(sizes, when))
    losses = np.random.default_rng(0).random((count, 9)).astype(np.float32)
    losses[0] = np.nan
    seconds = np.linspace(1, 2, count, dtype=np.float32)
    table = Table("t", sizes, frozenset({"kind"}), losses, seconds, when=when, second=seconds)
    if METHODS[name].is_full:
        table = table.without_curves()
    count = 2 if "promotion" in name else 20  # most trials pause there and never end
    run = simulate(table, make(name, table, 0), workers=3, trials=count)
    assert run.trials >= count
    assert run.distinct == run.trials  # of 27 configurations
    repeated = simulate(table, make(name, table, 0), workers=3, trials=count)
    assert repeated.improvements == run.improvements


def test_the_guard_fails_a_search_that_finds_or_prunes_too_little() -> None:
    def result(share: float, full: int) -> tuple[float, Run]:
        return share, Run([], 1.0, 1.0, 100, full, 100, 100, [], 0.0)

    random = [result(0.01, 3), result(0.04, 3)]  # their geometric mean: 0.02
    assert problems([result(0.004, 8), result(0.004, 8)], random) == []
    (share,) = problems([result(0.0041, 8), result(0.0041, 8)], random)
    assert "reaches 0.410%, more than 0.2 of 2.000%" in share
    (to_the_end,) = problems([result(0.001, 9), result(0.001, 9)], random)
    assert "9.0% of its trials run to their end, more than 8%" in to_the_end


def test_past_studies_are_of_other_tables_and_may_mislead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_start, "PAST_TRIALS", 12)
    monkeypatch.setattr(warm_start, "related", lambda name: ["segment"])
    warm_start.past_study.cache_clear()
    related, inverted = (warm_start.past_study("segment", flag, 0) for flag in (False, True))
    table, reversed_table = tables.load("segment"), tables.load("segment inverted")
    assert np.argmin(reversed_table.quality) == np.argmax(table.quality)
    names = list(related.space)
    for past, losses in ((related, table), (inverted, reversed_table)):
        row = losses.index(dict(zip(names, past.params[0].astype(int).tolist(), strict=True)))
        assert past.values[0] == pytest.approx(losses.quality[row], rel=1e-4)
    run = simulate(
        tables.load("kc1"),
        make("tuner auto, related history", tables.load("kc1"), 0),
        workers=2,
        trials=4,
    )
    assert run.trials >= 4
    warm_start.past_study.cache_clear()


def test_related_tables_are_the_others_of_a_collection() -> None:
    assert warm_start.related("cifar100") == ["cifar10", "imagenet"]


def test_a_picture_is_readable_on_light_and_dark_ground(tmp_path: Path) -> None:
    ticks = [(0.0, "0"), (1.0, "<1")]
    picture = Picture("What it shows", (0.0, 1.0), (0.0, 2.0), ("across", "up"), (ticks, ticks))
    picture.line([0.0, 1.0], [0.0, 2.0], 'stroke="#0072b2"')
    picture.write(tmp_path / "p.svg")
    root = ElementTree.parse(tmp_path / "p.svg").getroot()
    (line,) = root.iter("{http://www.w3.org/2000/svg}polyline")
    assert line.get("points") == "64.0,292.0 530.0,20.0"
    assert "prefers-color-scheme: dark" in (tmp_path / "p.svg").read_text()
    assert "<1" in [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]


def test_results_are_replaced_between_their_marks() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replaced(page, ["new", ""]) == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    assert replaced(replaced(page, ["newer"]), ["new"]) == replaced(page, ["new"])
