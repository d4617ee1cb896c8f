"""Whatever a study file holds, it is read or refused with a sentence, and soon."""

import random
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support import synthetic
from tests.support.spaces import parameters, spaces
from tuner.errors import SpecError
from tuner.families import resolve
from tuner.study_file.document import scalar
from tuner.study_file.load import MAX_BYTES, from_mapping, loads
from tuner.study_file.overrides import parse_assignments
from tuner.study_file.parameters import (
    CategoricalParameter,
    FixedParameter,
    FloatParameter,
    IntParameter,
    Searched,
    among,
    at,
    values,
)
from tuner.study_file.space import Space
from tuner.study_file.study import StudySpec

HEAD = "name: x\nfamily: cnn\ndata: digits\n"
CALLS = 50_000_000  # of functions, four times as many as the largest file takes

KEYS = [*StudySpec.model_fields, "low", "high", "choices", "value", "when", "depth", "optimizer"]
yamlish = st.lists(
    st.one_of(
        st.sampled_from(
            [*KEYS, *(f"{key}: " for key in KEYS), "\n", "\n  ", "\n  - ", ": ", "- ", "[", "]"]
        ),
        st.sampled_from(
            ["{", "}", ", ", "'", '"', "&a ", "*a", "!!str ", "|\n", ">", "#", "---\n"]
        ),
        st.sampled_from(
            ["1", "0.5", ".nan", "-.inf", "1e400", "null", "true", "~", "<<", "?", "%"]
        ),
        st.text(max_size=4),
    ),
    max_size=40,
).map("".join)
plain = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9),
        st.sampled_from(["sgd", "digits", "tpe", "float", "int"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=5),
    ),
    max_leaves=20,
)  # fmt: skip


def read(text: str, **given: Any) -> str | None:
    """Load and confirm; the message if it was refused."""
    try:
        resolve(loads(text, name="s.yaml", **given))
    except SpecError as error:
        return str(error)
    return None


def is_readable(message: str) -> bool:
    """Printable lines of a bearable length, without Python's or pydantic's words."""
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in message.replace("\n", "")):
        return False
    words = (
        "Traceback",
        "pydantic",
        "validation error",
        "ValueError",
        "object at 0x",
        "line_error",
    )
    return not any(word in message for word in words) and all(
        0 < len(line) < 1000 for line in message.split("\n")
    )


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
@example("\ud800")
@example("a: \U000e0001")
@example("\u2028: 1")
@example('"\\ud800": 1')
def test_any_text(text: str) -> None:
    for whole in (text, HEAD + text, f"name: {text}\nfamily: cnn\ndata: digits"):
        message = read(whole)
        assert message is None or is_readable(message)


@settings(max_examples=250, deadline=None)
@given(yamlish)
def test_anything_like_yaml(text: str) -> None:
    for whole in (text, HEAD + text, HEAD + "search:\n  depth: " + text):
        message = read(whole)
        assert message is None or is_readable(message)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
@example("depth", "1e28")  # a whole number, written as a float
@example("depth", "-1e300")
def test_any_override(path: str, value: str) -> None:
    for override in (path, f"{path}={value}", f"search.{path}={value}", f"search.depth={value}"):
        message = read(HEAD, overrides=[override])
        assert message is None or is_readable(message)
        try:
            assert len(parse_assignments([override])) == 1
        except SpecError as error:
            assert is_readable(str(error))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), plain, max_size=6))
def test_any_plain_values(given_: dict[str, Any]) -> None:
    try:
        resolve(from_mapping({"name": "x", "family": "cnn", "data": "digits", **given_}))
    except SpecError as error:
        assert is_readable(str(error))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=30))
@example("9" * 5000)
@example("1" * 4000 + "_1")
@example("1e999999")
def test_any_word(text: str) -> None:
    try:
        value = scalar(text)
    except ValueError:
        return
    assert value is None or isinstance(value, bool | int | float | str)


FULL = MAX_BYTES - 1000
LARGE = {
    "one word": "a" * FULL,
    "one number": "a: " + "1" * FULL,
    "digits and underscores": "a: " + "1_" * (FULL // 2),
    "lines": "a\n" * (FULL // 2),
    "keys": "".join(f"k{n}: 1\n" for n in range(FULL // 12)),
    "open lists": "[" * FULL,
    "open sections": "{" * FULL,
    "question marks": "? " * (FULL // 2),
    "dashes": "- " * (FULL // 2),
    "quotes": "'" * FULL,
    "escapes": 'a: "' + "\\x41" * (FULL // 4) + '"',
    "colons": ":" * FULL,
    "comments": "# x\n" * (FULL // 4) + HEAD,
    "spaces": " " * FULL + "a",
    "tabs": "\t" * FULL,
    "block text": "a: |\n" + " x\n" * (FULL // 3),
    "equal choices": HEAD + "search:\n  depth: [" + "1," * 19_000 + "2]",
    "many choices": HEAD
    + "search:\n  learning_rate: ["
    + ",".join(f"{n / 1e5:g}" for n in range(1, 19_000))
    + "]",
    "forbidden all at the end": HEAD
    + "forbidden:\n"
    + "- {dropout: {above: 9}}\n" * 3000
    + "- {dropout: {above: -1}}\n",
    "unknown parameters": HEAD + "search:\n" + "".join(f"  depth{n}: 2\n" for n in range(9000)),
    "enqueued": HEAD + "enqueue:\n" + "- {depth: 2}\n" * 6000,
    "twice": "k: 1\n" * 9000,
    "documents": "---\n" * (FULL // 4),
    "directives": "%" * FULL,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_large_files_are_soon_done_with(name: str) -> None:
    messages: list[str | None] = []
    assert synthetic.calls(lambda: messages.append(read(LARGE[name]))) < CALLS
    assert messages[0] is None or is_readable(messages[0])


# Spaces


def belongs(value: object, parameter: Searched) -> bool:
    if isinstance(parameter, FixedParameter):
        return among(value, [parameter.value])  # type: ignore[arg-type]
    if isinstance(parameter, CategoricalParameter):
        return among(value, parameter.choices)  # type: ignore[arg-type]
    if isinstance(parameter, IntParameter):
        return (
            type(value) is int
            and parameter.low <= value <= parameter.high
            and (value - parameter.low) % parameter.step == 0
        )
    assert isinstance(parameter, FloatParameter)
    return isinstance(value, float) and parameter.low <= value <= parameter.high


@settings(max_examples=200, deadline=None)
@given(spaces(), st.integers(0, 2**32))
def test_every_draw_lies_in_the_space(space: Space, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(5):
        params = space.random(rng)
        assert list(params) == [n for n in space.parameters if space.is_active(n, params)]
        assert all(belongs(value, space.parameters[name]) for name, value in params.items())


@settings(max_examples=100, deadline=None)
@given(spaces(), st.integers(0, 2**32))
def test_what_is_given_stays(space: Space, seed: int) -> None:
    rng = random.Random(seed)
    first = space.random(rng)

    assert space.random(rng, pinned=first) == first


@settings(max_examples=200, deadline=None)
@given(parameters(), st.floats(0, 1, exclude_max=True))
def test_every_share_of_a_scale_is_a_value(parameter: Searched, share: float) -> None:
    assert belongs(at(parameter, share), parameter)


@settings(max_examples=200, deadline=None)
@given(spaces())
def test_small_spaces_are_counted_exactly(space: Space) -> None:
    cells = space.cells(200)
    if cells is None:
        return
    keys = {repr(list(cell.items())) for cell in cells}
    assert len(keys) == len(cells)
    rng = random.Random(0)
    for _ in range(50):
        params = space.random(rng)
        assert (repr(list(params.items())) in keys) != space.is_forbidden(params)


@settings(max_examples=100, deadline=None)
@given(parameters())
def test_values_are_all_there_are(parameter: Searched) -> None:
    every = values(parameter, 1000)
    if every is None:
        return
    assert all(belongs(value, parameter) for value in every)
    rng = random.Random(0)
    assert {repr(at(parameter, rng.random())) for _ in range(50)} <= {repr(v) for v in every}
