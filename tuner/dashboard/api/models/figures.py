"""Figures and tables as the REST API returns them; they are encoded by `plots.encoding`."""

from typing import Any

from pydantic import Field

from tuner.dashboard.api.models import Record, Text


class TableRecord(Record):
    """A figure's data as text."""

    columns: list[Text] = Field(description="The columns' titles.")
    rows: list[list[Text]] = Field(description="The rows, with one cell per column.")
    note: Text = Field(description="What the table leaves out.")


class FigureRecord(Record):
    """A figure; if there is nothing to draw, `caption` says why."""

    version: Text = Field(description="The state of the study that the figure shows.")
    caption: Text = Field(description="What the figure shows, or why there is none.")
    figure: dict[str, Any] | None = Field(
        default=None,
        description="`data` and `layout` for plotly.js; long lists of numbers are typed arrays.",
    )
    table: TableRecord | None = Field(default=None, description="The figure's data as text.")
    brush: list[dict[str, Any]] | None = Field(
        default=None, description="One entry per subplot: the columns that its axes show."
    )


class ColumnRecord(Record):
    """A column of the trial table."""

    name: Text = Field(description="The column's name in `sort` and `where`.")
    title: Text = Field(description="The column's title.")
    kind: Text = Field(description="number, text or time.")


class TrialTableRecord(Record):
    """A window of the trial table."""

    version: Text = Field(description="The state of the study that the table shows.")
    total: int = Field(description="How many trials pass the filter.")
    offset: int = Field(description="Where the window begins.")
    columns: list[ColumnRecord] = Field(description="The table's columns.")
    rows: list[list[Any]] = Field(description="The rows, with one cell per column.")
