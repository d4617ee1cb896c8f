"""The plain values of study files, strict where pydantic would guess.

pydantic reads `true` as 1, "3" as 3 and "on" as true, and names every branch of a union in its
errors. These types accept only what was meant and answer with one sentence.
"""

import math
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidatorFunctionWrapHandler, WrapValidator

from tuner.study_file.messages import a, decimal_comma, problem
from tuner.trials import ParamValue

MOST = 2**63 - 1  # of whole numbers, as of the database's


def _bounded(given: Any) -> Any:
    """Refuse a whole number that neither the database nor a float may be able to hold."""
    if isinstance(given, int) and not -MOST <= given <= MOST:
        raise problem(f"must be a number of at most {len(str(MOST))} digits, is longer")
    return given


def _whole(given: Any) -> Any:
    if isinstance(given, float) and given.is_integer():  # 1e3 is how people write 1000
        given = int(given)
    _bounded(given)
    if isinstance(given, bool) or not isinstance(given, int):
        raise problem(f"must be a whole number, is {a(given)}{decimal_comma(given)}")
    return given


def _finite(given: Any) -> Any:
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise problem(f"must be a number, is {a(given)}{decimal_comma(given)}")
    _bounded(given)
    if not math.isfinite(given):
        raise problem(f"must be a finite number, is {a(given)}")
    return given


def _flag(given: Any) -> Any:
    if not isinstance(given, bool):
        raise problem(f"must be true or false, is {a(given)}")
    return given


def _value(given: Any, _: ValidatorFunctionWrapHandler) -> Any:
    if isinstance(given, float):
        return _finite(given)
    if given is not None and not isinstance(given, bool | int | str):
        raise problem(f"must be a single value (a number, text, true or false), is {a(given)}")
    return _bounded(given)


def _number(given: Any, _: ValidatorFunctionWrapHandler) -> Any:
    return _finite(given)


def label(given: Any) -> str:
    """A label's key or value as text; an error if it is none."""
    _bounded(given)
    if isinstance(given, int) and not isinstance(given, bool):  # zone: 1
        given = str(given)
    if not isinstance(given, str) or not _LABEL.fullmatch(given):
        raise problem(
            f"must be a label: letters, digits, `.`, `_` and `-`, at most 63; is {a(given)}"
        )
    return given


def some(given: tuple[ParamValue, ...]) -> tuple[ParamValue, ...]:
    """Refuse an empty list of values; returns the list."""
    if not given:
        raise problem("must have at least one value")
    return given


_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class NamesFile:
    """Marks what names a file or a folder of the machine (`study_file/paths.py`)."""


FilePath = Annotated[Path, NamesFile()]
Whole = Annotated[int, BeforeValidator(_whole)]
Real = Annotated[float, BeforeValidator(_finite)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Label = Annotated[str, BeforeValidator(label)]
# the union's own validation is skipped: its type is there for the JSON schema
Value = Annotated[ParamValue, WrapValidator(_value)]
Number = Annotated[int | float, WrapValidator(_number)]


def one_or_several(given: Any) -> Any:
    """A single value as a list of one, for fields that take either."""
    return given if given is None or isinstance(given, list | tuple) else (given,)
