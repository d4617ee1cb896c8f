"""Reports to share with people without tuner: `report`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import typer

from tuner import export, files
from tuner.cli.output import AsJson, StudyName, literal, open_database, out, print_json
from tuner.commands import reading
from tuner.errors import BadInputError
from tuner.study_file.messages import quoted

REPORTS = Path("reports")


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("report", rich_help_panel="Inspect and export")(report)


def report(
    name: str = StudyName,
    to: Path | None = typer.Option(
        None,
        "--to",
        help="The file to write (default: reports/NAME.html); with --figures, the folder.",
    ),
    figures: Literal["pdf", "png", "svg"] | None = typer.Option(
        None, "--figures", help="Write each figure as a picture instead of the page."
    ),
    as_json: bool = AsJson,
) -> None:
    """Write one self-contained HTML page with figures and tables, or the figures as pictures.

    For an experiment, the page compares the families and has a section for each.
    """
    # imports Plotly and Optuna, for which few other commands should wait
    from tuner.report import document, inputs

    with open_database() as (_, database):
        families = inputs.load_experiment(database, name)
        if not families:
            study = inputs.load_study(database, reading.find(database, name))
    kind = "experiment" if families else "study"
    if figures is not None:
        drawings = document.draw_experiment(families) if families else document.draw_study(study)
        folder = to or REPORTS / files.safe_name(name)
        names = _write_pictures(drawings, f"the {kind} {quoted(name)}", folder, figures)
        if as_json:
            print_json({kind: name, "folder": folder, "figures": names})
        else:
            out.print(f"wrote {', '.join(names)} to [bold]{literal(folder)}[/]")
        return
    versions = export.versions()
    page = (
        document.render_experiment(name, families, versions=versions)
        if families
        else document.render_study(study, versions=versions)
    )
    path = to or REPORTS / f"{files.safe_name(name)}.html"
    files.write(path, page)
    if as_json:
        print_json({kind: name, "report": path})
    else:
        out.print(f"wrote [bold]{literal(path)}[/]")


def _write_pictures(
    drawings: Mapping[str, Any],
    name: str,
    folder: Path,
    image_format: Literal["pdf", "png", "svg"],
) -> list[str]:
    from tuner.report import pictures

    if not drawings:
        raise BadInputError(f"{name} has nothing to draw yet")
    return pictures.write(drawings, folder, image_format)
