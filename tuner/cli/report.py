"""Reports for those who have no tuner: `report`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import typer

from tuner import export, files
from tuner.cli.output import AsJson, StudyName, opened, out, print_json, shown
from tuner.commands import reading
from tuner.errors import BadInputError
from tuner.study_file.messages import quoted

REPORTS = Path("reports")


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("report", rich_help_panel="Look")(report)


def report(
    name: str = StudyName,
    to: Path | None = typer.Option(
        None, "--to", help="The file, by default reports/NAME.html; with --figures the folder."
    ),
    figures: Literal["pdf", "png", "svg"] | None = typer.Option(
        None, "--figures", help="Write each figure as a picture instead."
    ),
    as_json: bool = AsJson,
) -> None:
    """Write one self-contained HTML page with figures and tables, or the figures as pictures.

    Of an experiment, the page compares the families and has a section for each.
    """
    # Plotly and Optuna, which few other commands wait for
    from tuner.report import document, material

    with opened() as (_, database):
        found = material.of_experiment(database, name)
        if not found:
            one = material.of_study(database, reading.find(database, name))
    of = "experiment" if found else "study"
    if figures is not None:
        drawn = document.figures_of_experiment(found) if found else document.figures(one)
        folder = to or REPORTS / files.safe_name(name)
        names = _put_pictures(drawn, f"the {of} {quoted(name)}", folder, figures)
        if as_json:
            print_json({of: name, "folder": folder, "figures": names})
        else:
            out.print(f"wrote {', '.join(names)} to [bold]{shown(folder)}[/]")
        return
    versions = export.versions()
    page = (
        document.render_experiment(name, found, versions=versions)
        if found
        else document.render(one, versions=versions)
    )
    path = to or REPORTS / f"{files.safe_name(name)}.html"
    files.write(path, page)
    if as_json:
        print_json({of: name, "report": path})
    else:
        out.print(f"wrote [bold]{shown(path)}[/]")


def _put_pictures(
    drawn: Mapping[str, Any], who: str, folder: Path, form: Literal["pdf", "png", "svg"]
) -> list[str]:
    from tuner.report import pictures

    if not drawn:
        raise BadInputError(f"{who} has nothing to draw yet")
    return pictures.write(drawn, folder, form)
