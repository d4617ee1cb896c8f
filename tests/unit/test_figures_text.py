import html
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.figures import text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.98765, "0.9877"),
        (0.5, "0.5"),
        (12.3456, "12.35"),
        (1234.56, "1235"),
        (123456.7, "123457"),
        (0.00031622, "0.0003162"),
        (9.99999, "10"),
        (0.99999, "1"),
        (1e-05, "1e-5"),
        (1.23456e9, "1.235e9"),
        (-0.25, "-0.25"),
        (128, "128"),
        (10**400, "1.000e+400"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_numbers_have_four_significant_digits(value: float | None, expected: str) -> None:
    assert text.number(value) == expected


@given(st.floats(-1e308, 1e308))
def test_a_number_reads_back_as_itself_to_four_digits(value: float) -> None:
    assert float(text.number(value)) == pytest.approx(value, rel=6e-4)


def test_memory_has_the_unit_that_fits() -> None:
    cases = {0: "0 bytes", 1023: "1023 bytes", 1536: "1.5 KiB", 2**20: "1 MiB"}
    cases |= {123.4 * 2**20: "123.4 MiB", 84 * 2**30: "84 GiB", 1.2345 * 2**30: "1.23 GiB"}
    for size, expected in cases.items():
        assert text.memory(size) == expected


def test_values_are_written_as_in_a_study_file() -> None:
    assert [text.value(v) for v in (True, False, None, "adam", 32, 0.1)] == [
        "true",
        "false",
        "null",
        "adam",
        "32",
        "0.1",
    ]


@given(st.text())
def test_escaped_text_has_no_markup_and_reads_back(name: str) -> None:
    escaped = text.escape(name)
    assert not set("<>%") & set(escaped)
    assert html.unescape(escaped) == text.clean(name)


def test_what_cannot_be_seen_or_encoded_is_replaced() -> None:
    assert text.clean("a\u202eb\ud800c\nd") == "a�b�c�d"
    text.clean("\ud800").encode()


def test_shortening_keeps_both_ends() -> None:
    assert text.short("optimizer_adam_beta1", 13) == "optimi…_beta1"
    assert len(text.short("x" * 99, 10)) == 10
    assert text.short("short", 10) == "short"


def test_hover_lists_so_many_parameters() -> None:
    lines = text.params({f"p{i}": i for i in range(20)})
    assert lines.count("<br>") == text.HOVER_PARAMS
    assert lines.endswith("and 8 more")
