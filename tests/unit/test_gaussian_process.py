"""The Gaussian process, what it learns from, and what it proposes."""

import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import check_grad
from scipy.stats import norm

from tuner.database.readers.columns import Columns, Reports
from tuner.origin import OriginKind
from tuner.search import gaussian_process, surrogate
from tuner.search.cost_model import CostModel
from tuner.search.encoding import Encoding
from tuner.search.gaussian_process import Posterior, fit, log_expected_improvement
from tuner.search.history import History
from tuner.search.observations import Observer
from tuner.search.record import new_row
from tuner.search.sampler import Proposer
from tuner.search.samplers import gp
from tuner.search.tried import Tried
from tuner.study_file.parameters import CategoricalParameter, FloatParameter, IntParameter
from tuner.study_file.space import Range, Space
from tuner.study_file.study import Sampler
from tuner.trials import Cause, Direction, TrialState

XY = Space(parameters={"x": FloatParameter(low=-5, high=5), "y": FloatParameter(low=-5, high=5)})
TREE = Space(
    parameters={
        "optimizer": CategoricalParameter(choices=("sgd", "adamw")),
        "rate": FloatParameter(low=1e-4, high=1.0, log=True),
        "momentum": FloatParameter(low=0.5, high=0.9, step=0.1, when={"optimizer": ("sgd",)}),
        "layers": IntParameter(low=1, high=8),
    }
)
START = datetime(2026, 1, 1, tzinfo=UTC)


class Study:
    """A study in one process: what is proposed is trained at once, epoch by epoch."""

    def __init__(
        self,
        space: Space,
        *,
        seed: int = 0,
        directions: Sequence[Direction] = ("minimize",),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.history = History(1)
        sampler = Sampler.model_validate(
            {"name": "gp", "startup_trials": 5, "options": options or {}}
        )
        self.proposer = Proposer(space, sampler, directions, seed, self.history)
        self.params: list[dict[str, Any]] = []

    def propose(self, fixed: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return self.proposer.propose(len(self.params), fixed).params

    def add(
        self,
        params: Mapping[str, Any],
        values: Sequence[float] | None,
        reports: Sequence[float] = (),
        state: TrialState = TrialState.COMPLETE,
        cause: Cause | None = None,
        seconds: float = 4.5,
    ) -> None:
        space = self.proposer.distributions(params)
        number = len(self.params)
        internal = [space[name].to_internal_repr(params[name]) for name in space]
        row = new_row(number + 1, number, state, internal, values=values)._replace(
            steps=list(range(1, len(reports) + 1)),
            report_values=list(reports),
            cause=cause,
            started_at=START + timedelta(seconds=number - seconds),
            finished_at=None if state is TrialState.RUNNING else START + timedelta(seconds=number),
        )
        self.history.add(row, space)
        self.params.append(dict(params))


def observer(directions: Sequence[Direction] = ("minimize",)) -> tuple[Study, Observer]:
    study = Study(XY, directions=directions)
    return study, study.proposer._observer


def test_the_gradient_of_the_fit_is_right() -> None:
    rng = np.random.default_rng(0)
    x, y, weights = rng.random((12, 3)), rng.standard_normal(12), 1.0 + rng.random(12)
    losses: list[Any] = []

    def capture(loss: Any, start: Any, **options: Any) -> Any:
        losses.append(loss)
        return minimize(loss, start, **options)

    minimize = gaussian_process.minimize
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gaussian_process, "minimize", capture)
        fit(x, y, weights)
    (loss,) = losses
    point = np.array([-0.3, 0.4, 0.1, -2.0])

    assert check_grad(lambda p: loss(p)[0], lambda p: loss(p)[1], point) < 1e-5


def test_a_fit_tells_what_matters_from_what_does_not() -> None:
    rng = np.random.default_rng(1)
    x = rng.random((80, 4))
    y = np.sin(6 * x[:, 0])
    y = (y - y.mean()) / y.std()

    lengths = np.exp(fit(x, y, np.ones(80)).log_lengths)

    assert lengths[0] < 0.3 * lengths[1:].min()


def test_the_posterior_passes_through_what_has_little_noise() -> None:
    rng = np.random.default_rng(2)
    x = rng.random((30, 2))
    y = np.cos(4 * x[:, 0]) + x[:, 1]
    y = (y - y.mean()) / y.std()
    weights = np.where(np.arange(30) < 15, 1.0, 500.0)

    mean, deviation = Posterior(fit(x, y, weights), x, y, weights).predict(x)

    assert np.abs(mean - y)[:15].max() < 0.1
    assert deviation[:15].max() < deviation[15:].max()


@pytest.mark.parametrize("z", [-30.0, -8.0, -1.5, -0.5, 0.0, 2.0, 40.0])
def test_expected_improvement_keeps_what_would_round_to_nothing(z: float) -> None:
    scale = 0.3  # E[max(0, best - f)] for f ~ N(mean, scale²), best = 0, mean = -z · scale
    if z > 20:
        expected = math.log(z)
    else:  # φ(z) as a factor apart: the integral itself underflows
        value, _ = quad(lambda u: u * math.exp(z * u - u * u / 2), 0, 40)
        expected = norm.logpdf(z) + math.log(value)

    score = log_expected_improvement(np.array([-z * scale]), np.array([scale]), 0.0)[0]

    assert score == pytest.approx(expected + math.log(scale), rel=1e-4)


def encoding(space: Space) -> Encoding:
    proposer = Study(space).proposer
    return Encoding(space, proposer._distributions)


def test_every_whole_number_and_every_step_is_equally_likely() -> None:
    space = Space(
        parameters={
            "n": IntParameter(low=1, high=4),
            "s": FloatParameter(low=0.0, high=0.75, step=0.25),
            "c": CategoricalParameter(choices=("a", "b", "c", "d")),
        }
    )
    points = np.repeat(np.linspace(0, 1, 4001)[:-1, None] + 1 / 8000, 3, axis=1)

    rows = encoding(space).rows(points)

    for column in rows.T:
        assert np.unique(column, return_counts=True)[1].tolist() == [1000] * 4


def test_a_logarithmic_range_is_encoded_by_its_logarithm() -> None:
    inputs = encoding(TREE).encode(np.array([[0, 1e-2, 4.0, 0.7], [1, 1.0, 8.0, np.nan]]))

    assert inputs[:, :2].tolist() == [[0.7, 0.0], [0.0, 0.7]]  # a column per choice
    assert inputs[:, 2].tolist() == pytest.approx([0.5, 1.0])
    assert inputs[1, 4] == 0.5  # inactive: the middle


def test_conditions_hold_for_candidates_and_neighbours() -> None:
    tree = encoding(TREE)
    rng = np.random.default_rng(0)
    rows = tree.deactivate(tree.rows(rng.random((200, 4))))
    near = tree.deactivate(tree.neighbours(rows[0], 200, rng))

    for candidates in (rows, near):
        assert (np.isnan(candidates[:, 3]) == (candidates[:, 0] == 1)).all()
        assert np.isfinite(np.delete(candidates, 3, axis=1)).all()
        assert set(candidates[:, 2]) <= set(range(1, 9))
    differing = ((near != rows[0]) & ~(np.isnan(near) & np.isnan(rows[0]))).sum(1)
    assert differing.max() <= 4  # three changes, and a parameter that one of them activates


def test_seconds_are_learned_where_they_differ() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((60, 3))
    seconds = np.exp(4 * x[:, 1] + 0.1 * rng.standard_normal(60))  # up to 55 times as long
    seconds[::7] = np.nan
    candidates = np.array([[0.5, 0.1, 0.5], [0.5, 0.9, 0.5]])

    model = CostModel.fit(x[:40], seconds[:40])

    assert model is not None
    cheap, expensive = model.predict(x, seconds, candidates)
    assert expensive - cheap == pytest.approx(3.2, abs=0.3)
    assert CostModel.fit(x, 1 + x[:, 1]) is None  # at most twice as long
    assert CostModel.fit(x, np.full(60, np.nan)) is None


def test_seconds_have_no_part_in_a_search_that_is_not_cost_aware() -> None:
    searches = []
    for cost in (0.0, 5.0):
        study = Study(XY, options={"cost_aware": False})
        for _ in range(30):
            params = study.propose()
            value = bowl(params)
            study.add(params, [value], [value], seconds=math.exp(cost * (params["y"] + 5) / 10))
        searches.append(study.params)

    assert searches[0] == searches[1]


def test_a_cheap_configuration_is_proposed_before_an_equally_good_expensive_one() -> None:
    proposals = []
    for cost in (0.0, 5.0):
        study = Study(XY)
        for _ in range(60):
            params = study.propose()
            value = abs(params["x"])  # y does not matter
            study.add(params, [value], [value], seconds=math.exp(cost * (params["y"] + 5) / 10))
        proposals.append(np.array([p["y"] for p in study.params[30:]]))

    at_equal_cost, at_growing_cost = proposals
    assert np.median(at_growing_cost) < np.median(at_equal_cost) - 1


def test_values_are_extrapolated_by_the_drops_of_others() -> None:
    study, watcher = observer()
    for start in (1.0, 2.0, 3.0):  # three complete trials of 9 epochs: -0.5 by epoch 3, -0.2 by 9
        curve = [start] * 2 + [start - 0.5] * 6 + [start - 0.7]
        study.add({"x": start, "y": 0.0}, [start - 0.7], curve)
    study.add({"x": 0.0, "y": 1.0}, None, [0.9], TrialState.PRUNED)
    study.add({"x": 0.0, "y": 2.0}, None, [1.9, 1.9, 1.0], TrialState.RUNNING)
    study.add({"x": 0.0, "y": 3.0}, None, [], TrialState.RUNNING)
    study.add({"x": 0.0, "y": 4.0}, None, [0.1], TrialState.FAILED, Cause.USER_ERROR)
    study.add({"x": 0.0, "y": 5.0}, None, [], TrialState.FAILED, Cause.DIVERGED)

    observations = watcher.observations()

    assert observations.numbers.tolist() == [0, 1, 2, 3, 4, 7]
    # the last is worse than the worst by a tenth of the spread; it tells the model to keep away
    assert observations.values[:, 0].tolist() == pytest.approx([0.3, 1.3, 2.3, 0.2, 0.8, 2.51])
    is_extrapolated = observations.deviations[:, 0] > 0
    assert is_extrapolated.tolist() == [False, False, False, True, True, False]
    assert observations.deviations[3] > observations.deviations[4]
    assert watcher.pending().tolist() == [[0.0, 3.0]]
    assert watcher.running == 2


def test_many_trials_at_once_teach_what_they_teach_one_by_one() -> None:
    study, one_by_one = observer()
    rng = np.random.default_rng(3)
    curves = np.cumsum(-rng.random((40, 9)), axis=1)
    for curve, (x, y) in zip(curves, rng.uniform(-5, 5, (40, 2)), strict=True):
        study.add({"x": x, "y": y}, [curve[-1]], curve.tolist())
    at_once = Observer(["x", "y"], ["minimize"], Tried(study.proposer._distributions))
    numbers = np.arange(40)
    params = np.array([[p["x"], p["y"]] for p in study.params])
    finished = Columns(
        *(TrialState.COMPLETE, False, 1, numbers + 1, numbers, params, curves[:, -1:]),
        *(numbers * 1_000_000 - 4_500_000, numbers * 1_000_000, {}, {}),
    )
    reports = Reports(
        np.repeat(numbers, 9), np.tile(np.arange(1, 10), 40), curves.ravel().astype(np.float64)
    )

    at_once.load(finished, study.proposer.distributions(study.params[0]), reports)

    for method in ("observations", "ended", "pending"):
        a, b = (getattr(watcher, method)() for watcher in (one_by_one, at_once))
        np.testing.assert_equal(
            np.concatenate([np.ravel(v) for v in _fields(a)]),
            np.concatenate([np.ravel(v) for v in _fields(b)]),
        )


def _fields(value: Any) -> list[Any]:
    names = getattr(value, "__slots__", None)
    return [value] if names is None else [getattr(value, name) for name in names]


def bowl(params: Mapping[str, float]) -> float:
    return (params["x"] - 1) ** 2 + (params["y"] + 2) ** 2


def run(study: Study, trials: int) -> list[float]:
    values = []
    for _ in range(trials):
        params = study.propose()
        values.append(bowl(params))
        study.add(params, [values[-1]])
    return values


def test_it_finds_the_bottom_of_a_bowl() -> None:
    best = [min(run(Study(XY, seed=seed), 30)) for seed in range(3)]

    assert max(best) < 0.05  # 30 random draws come to 0.5 on average


def test_a_process_that_has_just_read_the_history_draws_the_same() -> None:
    study = Study(XY)
    run(study, 24)  # hyperparameters were fitted at 10, 13, 16 and 20 trials
    fresh = Study(XY)
    for params in study.params:
        fresh.add(params, [bowl(params)])

    assert fresh.propose() == study.propose()


def test_parallel_trials_spread_out() -> None:
    study = Study(XY)
    run(study, 15)
    proposals = []
    for _ in range(8):
        proposals.append(study.propose())
        study.add(proposals[-1], None, [], TrialState.RUNNING)

    distances = [
        math.dist(a.values(), b.values()) for a in proposals for b in proposals if a is not b
    ]
    assert min(distances) > 0.01
    assert len({tuple(p.values()) for p in proposals}) == 8


def test_many_workers_draw_functions_of_the_posterior(monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study(XY)
    run(study, 12)
    for k in range(gp.MANY_RUNNING):
        study.add({"x": k / 10 - 2.0, "y": 3.0}, None, [], TrialState.RUNNING)
    samples = []
    draw = Posterior.sample

    def sample(posterior: Posterior, *arguments: Any) -> Any:
        samples.append(posterior)
        return draw(posterior, *arguments)

    monkeypatch.setattr(Posterior, "sample", sample)
    assert len(study.params) % 2 == 0
    study.propose()
    assert samples == []
    study.add({"x": 4.0, "y": 4.0}, None, [], TrialState.RUNNING)
    study.propose()
    assert len(samples) == 1


def test_fixed_parameters_are_part_of_what_is_optimized() -> None:
    study = Study(XY)
    run(study, 20)

    for _ in range(8):
        params = study.propose({"x": 4.5})
        study.add(params, [bowl(params)])

    assert {p["x"] for p in study.params[20:]} == {4.5}
    assert min(abs(p["y"] + 2) for p in study.params[20:]) < 0.5


def test_forbidden_and_tried_configurations_are_never_proposed() -> None:
    space = Space(
        parameters={
            "x": IntParameter(low=-5, high=5),
            "y": IntParameter(low=-5, high=5),
        },
        forbidden=({"x": Range(above=0), "y": Range(below=0)},),
    )
    study = Study(space)
    run(study, 60)

    assert not any(p["x"] > 0 and p["y"] < 0 for p in study.params)
    assert len({tuple(p.values()) for p in study.params}) == 60


def test_each_draw_weighs_several_objectives_differently() -> None:
    study = Study(XY, directions=["minimize", "maximize"])
    for _ in range(40):
        params = study.propose()
        study.add(params, [(params["x"] - 3) ** 2, -((params["x"] + 3) ** 2)])

    late = [p["x"] for p in study.params[20:]]
    assert sum(-3.5 < x < 3.5 for x in late) >= 16  # between the optima lies the front
    assert max(late) - min(late) > 3


HOSTILE: dict[str, list[tuple[list[float] | None, list[float], TrialState]]] = {
    "NaN": [([math.nan], [], TrialState.COMPLETE)] * 12,
    "constants": [([0.5], [0.5], TrialState.COMPLETE)] * 12,
    "huge": [([v], [], TrialState.COMPLETE) for v in (1e300, -1e300, math.inf, -math.inf) * 3],
    "failures": [(None, [], TrialState.FAILED)] * 12,
    "ties": [([float(k % 2)], [], TrialState.COMPLETE) for k in range(12)],
    "diverging reports": [(None, [1.0, math.nan, 1e308], TrialState.PRUNED)] * 12,
    "one value": [([1.0], [], TrialState.COMPLETE), *[(None, [], TrialState.RUNNING)] * 11],
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.filterwarnings("error")
def test_a_hostile_history_still_gives_a_proposal(kind: str) -> None:
    study = Study(XY)
    for k, (values, reports, state) in enumerate(HOSTILE[kind]):
        study.add({"x": k / 3 - 2.0, "y": 1.0}, values, reports, state)

    params = study.propose()

    assert -5 <= params["x"] <= 5
    assert -5 <= params["y"] <= 5


@pytest.mark.parametrize(
    "space",
    [
        Space(parameters={"n": IntParameter(low=3, high=4)}),
        Space(parameters={f"x{k}": FloatParameter(low=0, high=1) for k in range(60)}),
        Space(parameters={"c": CategoricalParameter(choices=tuple(range(500)))}),
    ],
    ids=["two points", "60 parameters", "500 choices"],
)
def test_unusual_spaces_get_proposals(space: Space) -> None:
    study = Study(space)
    for _ in range(14):
        params = study.propose()
        assert set(params) == set(space.parameters)
        study.add(params, [float(sum(params.values()))])


def test_trouble_in_the_model_falls_back_to_random_candidates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = Study(XY)
    run(study, 8)

    def fail(*_: Any, **__: Any) -> Any:
        raise np.linalg.LinAlgError("not positive definite")

    monkeypatch.setattr(surrogate, "Posterior", fail)
    proposal = study.proposer.propose(len(study.params))

    assert -5 <= proposal.params["x"] <= 5
    assert proposal.origin.kind == OriginKind.RANDOM
    assert proposal.origin.reason == gp.NUMERICAL


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_proposal_tells_what_the_model_expects_of_it(direction: Direction) -> None:
    study = Study(XY, directions=[direction])
    sign = 1 if direction == "minimize" else -1
    errors = []
    for number in range(40):
        proposal = study.proposer.propose(number)
        params, origin = proposal.params, proposal.origin
        value = 100 + sign * (float(params["x"]) ** 2 + float(params["y"]) ** 2)
        if number >= 20:
            assert (origin.kind, origin.sampler) == (OriginKind.MODEL, "gp")
            assert origin.learned_from == number
            assert origin.predicted is not None
            errors.append(abs(origin.predicted - value))
            assert origin.gain is not None
            assert 0 <= origin.gain < 3
        study.add(params, [value], [value])

    assert np.median(errors) < 3  # of values that differ by up to 50


def test_what_is_left_of_a_small_space_is_proposed_without_a_redraw() -> None:
    space = Space(parameters={"x": IntParameter(low=-5, high=5), "y": IntParameter(low=-5, high=5)})
    study = Study(space)
    redraws: list[int] = []
    make = study.proposer._make_sampler
    study.proposer._make_sampler = lambda draw: redraws.append(draw.redraw) or make(draw)
    for _ in range(121):
        params = study.propose()
        value = params["x"] ** 2 + params["y"] ** 2
        study.add(params, [value], [value])

    assert len({(p["x"], p["y"]) for p in study.params}) == 121
    assert set(redraws[10:]) == {0}
    values = [p["x"] ** 2 + p["y"] ** 2 for p in study.params]
    assert values.index(0) < 25


def test_a_long_history_does_not_grow_the_model() -> None:
    study, watcher = observer()
    del study
    count = 100_000
    numbers = np.arange(count)
    rng = np.random.default_rng(0)
    params = rng.uniform(-5, 5, (count, 2))
    values = (params**2).sum(1)[:, None]
    proposer = Study(XY).proposer
    watcher.load(
        Columns(
            *(TrialState.COMPLETE, False, 1, numbers + 1, numbers, params, values),
            *(numbers, numbers, {}, {}),
        ),
        proposer.distributions({"x": 0.0, "y": 0.0}),
        Reports(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)),
    )

    thinned = watcher.observations(
        lambda _, values: surrogate._leading_and_newest(values, np.ones(count, bool))
    )

    assert len(watcher) == count
    assert len(thinned.values) <= surrogate.POINTS
    assert set(np.argsort(values[:, 0])[:100]) <= set(thinned.numbers.tolist())  # the best


@pytest.mark.slow
def test_it_needs_no_torch() -> None:
    code = (
        "from tests.unit.test_gaussian_process import Study, XY, run; run(Study(XY), 8);"
        "import sys; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
