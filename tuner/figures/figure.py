"""What a figure is: data first (`info`), drawing second (`draw`), the same data as a table.

The data of a figure is plain, so that tests read it without Plotly. A figure's module is its
`Drawing`; mypy checks in `registry.py` that it draws the data that its `info` returns.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, Literal, Protocol, TypeVar

import plotly.graph_objects as go

from tuner.figures.text import Table
from tuner.trials import Study, Trial

Section = Literal["progress", "importance", "parameters"]  # of the report, from top to bottom


class Info(Protocol):
    """The data of a figure."""

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to draw; None if there is something."""


InfoT = TypeVar("InfoT", bound=Info)
InfoT_contra = TypeVar("InfoT_contra", bound=Info, contravariant=True)


class Drawing(Protocol[InfoT_contra]):
    """The module of a figure: turns its data into a drawing and into a table."""

    def draw(self, info: InfoT_contra, /) -> go.Figure:
        """Return the drawing; without data, an empty one that says why."""

    def table(self, info: InfoT_contra, /) -> Table:
        """Return the same data to read, for those who cannot see a drawing."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a figure is made of: trials of one study, all or some, and facts about them."""

    study: Study
    trials: Sequence[Trial]
    log_params: Collection[str] = frozenset()  # parameters that are searched on a log scale
    importances: Mapping[str, float] | None = None  # parameter → share of the differences
    baselines: Mapping[str, float] | None = None  # parameter → what luck alone would explain
    now: datetime = field(default_factory=lambda: datetime.now(UTC))


def _no_minimum(_info: object) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Figure(Generic[InfoT]):
    """A figure of one study, as an entry of `registry.FIGURES`."""

    name: str  # in addresses, file names and Python
    title: str
    module: Drawing[InfoT]
    info: Callable[[Sample], InfoT]
    caption: Callable[[InfoT], str]
    section: Section | None = None  # of the report that shows it; None: the report does not
    by_importance: bool = False  # whether `info` reads importances, which take a while to compute
    by_reports: bool = False  # whether `info` reads reports; the dashboard reads them only for such
    min_width: Callable[[InfoT], int] = _no_minimum  # pixels; below, pages let it scroll
