"""Packing: by prediction a device is never asked for more than it has, and more never fits less."""

from collections.abc import Mapping

from hypothesis import example, given
from hypothesis import strategies as st

from tuner.trials import ParamValue
from tuner.worker.devices.packing import HEADROOM, MARGIN, Load, Peaks, fits

GIB = 2**30
sizes = st.integers(1, 4096)
peaks = st.integers(1, 100 * GIB)
shapes = st.fixed_dictionaries(
    {"batch_size": sizes, "width": sizes, "optimizer": st.sampled_from(["sgd", "adam"])}
)
loads = st.builds(Load, st.none() | peaks, st.integers(0, 100 * GIB))
bounded = st.builds(Load, peaks, st.integers(0, 100 * GIB))


def learned(*tried: tuple[Mapping[str, ParamValue], int]) -> Peaks:
    result = Peaks()
    for shape, peak in tried:
        result.learn(shape, peak)
    return result


@given(st.lists(st.tuples(shapes, peaks), min_size=1))
def test_the_bound_of_a_shape_that_was_tried_is_above_all_that_it_took(
    tried: list[tuple[Mapping[str, ParamValue], int]],
) -> None:
    learned_peaks = learned(*tried)
    for shape, peak in tried:
        bound = learned_peaks.bound(shape)
        assert bound is not None
        assert bound >= peak


@given(tried=shapes, peak=peaks, batch=sizes, width=sizes)
@example(tried={"batch_size": 980, "width": 108, "optimizer": "sgd"}, peak=1, batch=1101, width=150)
def test_bounds_hold_for_what_grows_with_batch_and_squared_width(
    tried: dict[str, ParamValue], peak: int, batch: int, width: int
) -> None:
    new = {**tried, "batch_size": batch, "width": width}
    bound = learned((tried, peak)).bound(new)
    assert bound is not None
    before_batch, before_width = int(tried["batch_size"]), int(tried["width"])  # type: ignore[arg-type]
    # a model of which one part is constant, one grows with the batch, one with the square
    grown = peak * max(1, batch / before_batch) * max(1, (width / before_width) ** 2)
    assert bound >= grown * 0.999


@given(tried=st.lists(st.tuples(shapes, peaks), min_size=1), new=shapes, more=sizes)
def test_a_larger_batch_is_never_bounded_by_less(
    tried: list[tuple[Mapping[str, ParamValue], int]], new: dict[str, ParamValue], more: int
) -> None:
    learned_peaks = learned(*((s, p) for s, p in tried if s["batch_size"] != new["batch_size"]))
    larger = {**new, "batch_size": int(new["batch_size"]) + more}  # type: ignore[arg-type]
    small, large = learned_peaks.bound(new), learned_peaks.bound(larger)
    exact = any(s == larger for s, _ in tried)
    assert exact or small is None or (large is not None and large >= small)


def test_nothing_follows_for_another_optimizer_or_other_parameters() -> None:
    tried = learned(({"batch_size": 32, "optimizer": "sgd"}, GIB))
    assert tried.bound({"batch_size": 32, "optimizer": "adam"}) is None
    assert tried.bound({"batch_size": 32}) is None
    assert tried.bound({"batch_size": 64, "optimizer": "sgd"}) == round(2 * GIB * MARGIN)
    assert Peaks().bound({"batch_size": 32}) is None


def test_the_nearest_shape_decides() -> None:
    tried = learned(
        ({"batch_size": 8, "width": 10}, GIB), ({"batch_size": 8, "width": 40}, 2 * GIB)
    )
    assert tried.bound({"batch_size": 8, "width": 44}) == round(2 * GIB * 1.21 * MARGIN)


@given(new=loads, running=st.lists(loads, max_size=5), free=peaks, used=st.integers(0, GIB))
def test_nothing_is_overpacked(new: Load, running: list[Load], free: int, used: int) -> None:
    """If each takes at most what was predicted, the headroom stays free."""
    total = free + used
    if not running or not fits(new, running, free=free, total=total):
        return
    remaining = free
    for load in (new, *running):
        assert load.bound is not None
        remaining -= max(load.bound, load.used) - load.used
    assert remaining >= HEADROOM * total - 1


@given(new=bounded, running=st.lists(bounded, min_size=1), other=loads, free=peaks, more=peaks)
def test_what_fits_fits_with_less_beside_it_and_more_room(
    new: Load, running: list[Load], other: Load, free: int, more: int
) -> None:
    total = 200 * GIB
    if fits(new, [*running, other], free=free, total=total):
        assert fits(new, running, free=free, total=total)
        assert fits(new, [*running, other], free=free + more, total=total)
        assert new.bound is not None
        smaller = Load(new.bound // 2, new.used)
        assert fits(smaller, [*running, other], free=free, total=total)


def test_before_anything_is_known_a_trial_runs_alone() -> None:
    room = {"free": 80 * GIB, "total": 80 * GIB}
    assert fits(Load(None), [], **room)
    assert not fits(Load(None), [Load(GIB)], **room)
    assert not fits(Load(GIB), [Load(None)], **room)
    assert fits(Load(GIB), [Load(GIB)], **room)
