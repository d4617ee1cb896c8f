"""Random search spaces for property tests."""

from typing import Any

from hypothesis import assume
from hypothesis import strategies as st
from pydantic import ValidationError

from tuner.study_file.parameters import (
    CategoricalParameter,
    FixedParameter,
    FloatParameter,
    IntParameter,
    Searched,
)
from tuner.study_file.space import Range, Space

NAMES = ("a", "b", "c", "d", "e")
_words = st.text("abcxyz01.", min_size=1, max_size=4)
_values = st.one_of(st.booleans(), st.integers(-9, 9), _words, st.none())


@st.composite
def parameters(draw: st.DrawFn) -> Searched:
    """One parameter of any kind, unconditional."""
    kind = draw(st.sampled_from(("float", "log", "step", "int", "int log", "choices", "fixed")))
    if kind == "choices":
        choices = draw(st.lists(_values, min_size=1, max_size=4, unique_by=lambda v: (v == v, v)))
        return CategoricalParameter(choices=tuple(choices))
    if kind == "fixed":
        return FixedParameter(value=draw(_values))
    if kind.startswith("int"):
        low = draw(st.integers(1, 50) if kind == "int log" else st.integers(-(2**53), 2**53 - 1))
        high = draw(st.integers(low + 1, 1000 if kind == "int log" else 2**53))
        step = 1 if kind == "int log" else draw(st.integers(1, min(high - low, 7)))
        return IntParameter(low=low, high=high, log=kind == "int log", step=step)
    low_ = draw(st.floats(1e-9, 10) if kind == "log" else st.floats(-1e6, 1e6))
    high_ = low_ + draw(st.floats(0.01, 1e6))
    step_ = (high_ - low_) / draw(st.floats(1, 40)) if kind == "step" else None
    return FloatParameter(low=low_, high=high_, log=kind == "log", step=step_)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Up to five parameters with conditions on earlier ones and forbidden combinations."""
    found: dict[str, Searched] = {}
    for name in NAMES[: draw(st.integers(1, 5))]:
        parameter = draw(parameters())
        parents = [n for n, p in found.items() if isinstance(p, CategoricalParameter)]
        if parents and draw(st.integers(0, 1)):
            parent = draw(st.sampled_from(parents))
            choices: Any = found[parent]
            allowed = draw(st.lists(st.sampled_from(choices.choices), min_size=1, max_size=2))
            parameter = parameter.model_copy(update={"when": {parent: tuple(allowed)}})
        found[name] = parameter
    forbidden: list[dict[str, Any]] = []
    for name, parameter in found.items():
        if draw(st.integers(0, 3)):
            continue
        if isinstance(parameter, CategoricalParameter):
            forbidden.append({name: (draw(st.sampled_from(parameter.choices)),)})
        elif isinstance(parameter, FloatParameter | IntParameter):
            forbidden.append({name: Range(above=(parameter.low + parameter.high) / 2)})
    try:
        return Space(parameters=found, forbidden=tuple(forbidden))
    except ValidationError:  # forbids everything
        assume(False)
        raise
