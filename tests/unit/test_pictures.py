"""Figures as files."""

from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.io
import pytest

from tests.support import synthetic
from tuner.errors import BadInputError
from tuner.report import document, pictures
from tuner.report.inputs import ReportInputs

FIGURES = {"a": go.Figure(), "b": go.Figure()}


def test_each_figure_of_a_report_is_one() -> None:
    inputs = ReportInputs(
        synthetic.study(), synthetic.trials(40), importances=synthetic.IMPORTANCES
    )
    pairs = ["pair-1", "pair-2", "pair-3"]
    assert list(document.draw_study(inputs)) == [
        *("history", "curves", "importance", *pairs, "parallel", "slices")
    ]


def test_files_appear_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Browsers are not everywhere that tests run: this one draws names."""

    def draw(fig: list[go.Figure], file: list[Path], **_: Any) -> None:
        for number, path in enumerate(file):
            path.write_text(str(number))

    monkeypatch.setattr(plotly.io, "write_images", draw)
    assert pictures.write(FIGURES, tmp_path / "x", "svg") == ["a.svg", "b.svg"]
    assert (tmp_path / "x" / "b.svg").read_text() == "1"
    with pytest.raises(BadInputError, match="exists already"):
        pictures.write(FIGURES, tmp_path / "x", "svg")


def test_without_a_browser_it_is_said_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BadInputError, match=r"install one \(apt-get install chromium\)"):
        pictures.write(FIGURES, tmp_path / "x", "png")
    assert list(tmp_path.iterdir()) == []


def test_without_kaleido_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "find_spec", lambda _: None)
    with pytest.raises(BadInputError, match=r"pip install 'tuner\[pictures\]'"):
        pictures.write(FIGURES, tmp_path / "x", "pdf")
