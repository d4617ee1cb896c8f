"""Names and values as text: four significant digits, and nothing that Plotly interprets.

Plotly renders a subset of HTML in every label and fills `%{…}` in hover texts, so a parameter
named `<b>x</b>` or `%{y}` would not appear as it is.
"""

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from tuner.study_file import messages
from tuner.trials import ParamValue

count = messages.counted
HOVER_PARAMS = 12  # parameters listed in a hover text
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # control, bidi, lone surrogates …


@dataclass(frozen=True, slots=True)
class Table:
    """A figure's content, to be read."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def clean(text: str) -> str:
    """Replace characters that are invisible or cannot be encoded with `�`, on one line."""
    if text.isprintable():
        return text
    return "".join("�" if unicodedata.category(c) in _INVISIBLE else c for c in text)


def short(text: str, length: int) -> str:
    """Shorten to `length` characters in the middle: prefixes and endings tell names apart."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def escape(text: str, length: int | None = None) -> str:
    """Escape text, so that Plotly shows it as it is in labels and hover templates."""
    escaped = clean(text)
    if length is not None:
        escaped = short(escaped, length)
    return (
        escaped.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace("%", "&#37;")
    )


def number(value: float | None, digits: int = 4) -> str:
    """Format a measured number with `digits` significant digits; `–` for None."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**15 else f"{Decimal(value):.{digits - 1}e}"
    if not math.isfinite(value):
        return str(float(value))
    rounded = float(f"{value:.{digits}g}")
    if rounded == 0:
        return "0"
    if 1e-4 <= abs(rounded) < 1e6:
        decimals = max(digits - 1 - math.floor(math.log10(abs(rounded))), 0)
        text = f"{value:.{decimals}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}"


def value(param: ParamValue) -> str:
    """Format a parameter's value as in a study file, floats shortened."""
    if param is None:
        return "null"
    if isinstance(param, bool):
        return "true" if param else "false"
    if isinstance(param, float):
        return number(param)
    return clean(str(param))


def params(values: Mapping[str, ParamValue], separator: str = "<br>") -> str:
    """Format parameters as lines of a hover text, escaped."""
    lines = [
        f"{escape(name, 32)}: {escape(value(v), 32)}"
        for name, v in list(values.items())[:HOVER_PARAMS]
    ]
    if len(values) > HOVER_PARAMS:
        lines.append(f"and {len(values) - HOVER_PARAMS} more")
    return separator.join(lines)


def duration(seconds: float | None) -> str:
    """Format seconds: `4.2 s`, `48 s`, `3 min 20 s`, `5 h 12 min`, `3 d 4 h`."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    for size, unit, smaller, small_unit in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{whole} s"


def memory(size: float) -> str:
    """Format bytes with three digits: `512 bytes`, `1.25 MiB`, `84 GiB`."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{number(size / unit, 3 if size < 100 * unit else 4)} {name}"
    return f"{size:.0f} bytes"


def size(parameters: float | None) -> str:
    """Format a count of parameters with three digits: `1.25 M`; `–` if it is unknown."""
    if parameters is None:
        return "–"
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if parameters >= unit:
            return f"{parameters / unit:.3g}{name}"
    return f"{parameters:.0f}"
