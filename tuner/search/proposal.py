"""What a search proposes to try next."""

from collections.abc import Mapping
from dataclasses import dataclass

from tuner.origin import Origin
from tuner.trials import ParamValue


@dataclass(frozen=True, slots=True)
class Proposal:
    """A configuration to try.

    Args:
        params: The searched parameters that are active.
        origin: How it was proposed.

    """

    params: Mapping[str, ParamValue]
    origin: Origin
