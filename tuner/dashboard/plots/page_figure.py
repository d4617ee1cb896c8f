"""A figure on a page: what it is drawn from, and what the page receives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuner.dashboard.plots import selection
from tuner.database.engine import Database
from tuner.database.readers.live import STATES, LiveTrials
from tuner.figures import text
from tuner.search.effects import Effect
from tuner.search.importances import shares
from tuner.trials import Study, Trial, TrialState


@dataclass(frozen=True, slots=True)
class FigureRequest:
    """What a figure is drawn from."""

    study: Study
    live: LiveTrials
    mask: selection.Mask  # the trials that pass the filter
    effects: Mapping[str, Effect] | None
    database: Database
    x: str | None = None  # a parameter of a plane, or an objective of a front
    y: str | None = None

    @property
    def importances(self) -> dict[str, float] | None:
        """Parameter → importance, which orders the axes."""
        return shares(self.effects)

    @property
    def axes(self) -> dict[str, Any]:
        """Arguments for the figures' parameter axes."""
        log_params = frozenset(name for name, p in self.live.params.items() if p.log)
        return {"log_params": log_params, "importances": self.importances}

    @property
    def violations_note(self) -> str:
        """The caption's sentence on trials that violate a constraint; empty if there are none."""
        violated = self.mask & self.live.complete & self.live.violated
        return " Hollow grey marks violate a constraint." if violated.any() else ""

    def load_trials(self, limit: int, *states: TrialState) -> list[Trial]:
        """At most `limit` of the trials in the mask, only in these states if any are named."""
        mask = self.mask
        if states:
            mask = mask & np.isin(self.live.state, [STATES.index(s) for s in states])
        return self.live.trials(selection.thin_out(self.live, mask, limit))


@dataclass(frozen=True, slots=True)
class PageFigure:
    """A figure for a page; if there is none, the caption says why."""

    caption: str
    figure: Any = None
    table: text.Table | None = None
    # one entry per subplot: {"x": {"column": …, "kind": …, "categories": …}, …}
    brush: Sequence[Mapping[str, Any]] = ()


Draw = Callable[[], PageFigure]
