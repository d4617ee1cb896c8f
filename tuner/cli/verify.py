"""Checking bundles: `verify`."""

from dataclasses import asdict
from pathlib import Path

import typer

from tuner import logs
from tuner.cli.output import AsJson, err, number, out, print_json, shown
from tuner.export.folder import PREDICT
from tuner.export.verify import verify as checks
from tuner.settings import settings

Bundle = typer.Argument(help="The folder of an export.", show_default=False)


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(rich_help_panel="Look")(verify)


def verify(
    bundle: Path = Bundle,
    train: bool = typer.Option(True, "--train/--no-train", help="Train it again."),
    predict: bool = typer.Option(
        False, "--predict", help="Compare predict.py's predictions with those of training."
    ),
    allow_code: bool = typer.Option(
        False, "--allow-code", help="Allow it to run your own code (function, command)."
    ),
    overrides: list[str] = typer.Option(
        [], "--set", help="Where the data is now: --set data.path=... (repeatable)."
    ),
    as_json: bool = AsJson,
) -> None:
    """Check an export: files unchanged, metric measured again, training repeated.

    Needs neither the study nor its database. Exit code 1 if a check fails.
    """
    logs.configure(settings().log_level)
    if predict:
        program = shown(bundle.absolute() / PREDICT)
        err.print(f"`--predict` runs {program}, the code of whoever made this bundle")
    made = []
    found = checks(bundle, train=train, predict=predict, allow_code=allow_code, overrides=overrides)
    for check in found:
        made.append(check)
        if not as_json:
            mark = "[green]ok[/]    " if check.passed else "[bold red]failed[/]"
            out.print(f"{mark} {check.name}: {shown(check.detail)}")
            if check.claimed is not None:
                out.print(f"         claimed    [bold]{_exact(check.claimed)}[/]")
                out.print(f"         reproduced [bold]{_exact(check.found)}[/]")
    passed = all(check.passed for check in made)
    if as_json:
        print_json({"bundle": bundle, "passed": passed, "checks": [asdict(c) for c in made]})
    raise typer.Exit(0 if passed else 1)


def _exact(value: float | str | None) -> str:
    """All digits: two values that look alike must be told apart."""
    return repr(value) if isinstance(value, float) else number(None)
