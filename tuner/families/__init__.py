"""Model families: which there are, and whether a study file and its data suit one.

Imports no family's code, so neither torch nor numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.data import benchmarks
from tuner.errors import DataError
from tuner.families import registry
from tuner.spec.load import Source
from tuner.spec.resolve import check_family, resolve
from tuner.spec.resolved import ResolvedSpec

if TYPE_CHECKING:
    from tuner.data.prepared import Prepared

__all__ = ["check_data", "confirm"]

_WORDS = {"images": "images", "text": "text", "corpus": "a corpus"}
_VERBS = {"images": "are", "text": "is", "corpus": "is"}


def confirm(source: Source) -> ResolvedSpec:
    """The study with its family's defaults filled in; SpecError, with lines, if they do not fit."""
    spec = source.spec
    with source.locating():
        check_family(spec, registry.NAMES)
        card = registry.card(spec.family)
        return resolve(
            spec,
            default=card.defaults(spec.data),
            metrics=card.measured(spec.data),
            epochs=card.epochs,
        )


def check_data(spec: ResolvedSpec, prepared: Prepared) -> None:
    """DataError if the family cannot learn from the data that was prepared, or not be judged."""
    needed = registry.card(spec.family).data
    assert spec.data is not None
    if prepared.kind not in needed:
        raise DataError(
            f"family `{spec.family}` needs {' or '.join(map(_WORDS.__getitem__, needed))}; "
            f"`data: {spec.data.source}` {_VERBS[prepared.kind]} {_WORDS[prepared.kind]}"
        )
    if spec.objective.metric in benchmarks.METRICS:
        # torch-free, but with numpy, which a launch has imported for its data anyway
        from tuner.data import corpus

        known = corpus.load(prepared, spec.data)["train"].words
        benchmarks.check(spec.data, spec.objective.metric, frozenset(known))
