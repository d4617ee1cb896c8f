"""Model families: which there are, and whether a study file and its data suit one.

Imports no family's code, so neither torch nor numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.errors import DataError
from tuner.families import registry
from tuner.spec.load import Source
from tuner.spec.resolve import check_family, resolve
from tuner.spec.resolved import ResolvedSpec

if TYPE_CHECKING:
    from tuner.data.prepared import Prepared

__all__ = ["check_data", "confirm"]


def confirm(source: Source) -> ResolvedSpec:
    """The study with its family's defaults filled in; SpecError, with lines, if they do not fit."""
    spec = source.spec
    with source.locating():
        check_family(spec, registry.NAMES)
        card = registry.card(spec.family)
        return resolve(
            spec, default=card.defaults(spec.data), metrics=card.metrics, epochs=card.epochs
        )


def check_data(spec: ResolvedSpec, prepared: Prepared) -> None:
    """DataError if the family learns from another kind of data than was prepared."""
    needed = registry.card(spec.family).data
    assert spec.data is not None
    if prepared.kind != needed:
        origin = "is" if prepared.kind == "text" else "are"
        raise DataError(
            f"family `{spec.family}` needs {needed}; "
            f"`data: {spec.data.source}` {origin} {prepared.kind}"
        )
