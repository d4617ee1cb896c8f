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

MOST = 2**63 - 1  # of whole numbers, as in the database


def _bounded(value: Any) -> Any:
    """Refuse whole numbers that the database cannot hold."""
    if isinstance(value, int) and not -MOST <= value <= MOST:
        raise problem(f"must be a number of at most {len(str(MOST))} digits, is longer")
    return value


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():  # 1e3 is how people write 1000
        value = int(value)
    _bounded(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise problem(f"must be a whole number, is {a(value)}{decimal_comma(value)}")
    return value


def _finite(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise problem(f"must be a number, is {a(value)}{decimal_comma(value)}")
    _bounded(value)
    if not math.isfinite(value):
        raise problem(f"must be a finite number, is {a(value)}")
    return value


def _flag(value: Any) -> Any:
    if not isinstance(value, bool):
        raise problem(f"must be true or false, is {a(value)}")
    return value


def _value(value: Any, _: ValidatorFunctionWrapHandler) -> Any:
    if isinstance(value, float):
        return _finite(value)
    if value is not None and not isinstance(value, bool | int | str):
        raise problem(f"must be a single value (a number, text, true or false), is {a(value)}")
    return _bounded(value)


def _number(value: Any, _: ValidatorFunctionWrapHandler) -> Any:
    return _finite(value)


def label(value: Any) -> str:
    """Return a label's key or value as text; refuse anything else."""
    _bounded(value)
    if isinstance(value, int) and not isinstance(value, bool):  # zone: 1
        value = str(value)
    if not isinstance(value, str) or not _LABEL.fullmatch(value):
        raise problem(
            f"must be a label: letters, digits, `.`, `_` and `-`, at most 63; is {a(value)}"
        )
    return value


def some(value: tuple[ParamValue, ...]) -> tuple[ParamValue, ...]:
    """Return the values; refuse an empty list."""
    if not value:
        raise problem("must have at least one value")
    return value


_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class NamesFile:
    """Marks fields that name a file or folder of the machine (`study_file/paths.py`)."""


FilePath = Annotated[Path, NamesFile()]
Whole = Annotated[int, BeforeValidator(_whole)]
Real = Annotated[float, BeforeValidator(_finite)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Label = Annotated[str, BeforeValidator(label)]
# skips the union's own validation: the type is there for the JSON schema
Value = Annotated[ParamValue, WrapValidator(_value)]
Number = Annotated[int | float, WrapValidator(_number)]


def one_or_several(value: Any) -> Any:
    """Wrap a single value in a tuple, for fields that accept one or several."""
    return value if value is None or isinstance(value, list | tuple) else (value,)
