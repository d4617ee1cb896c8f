"""Check bundles: `verify`."""

from dataclasses import asdict
from pathlib import Path

import typer

from tuner import logs
from tuner.cli.output import AsJson, err, literal, number, out, print_json
from tuner.export.folder import PREDICT
from tuner.export.verify import verify as run_checks
from tuner.settings import settings

Bundle = typer.Argument(help="The folder of the export.", show_default=False)


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(rich_help_panel="Inspect and export")(verify)


def verify(
    bundle: Path = Bundle,
    train: bool = typer.Option(True, "--train/--no-train", help="Repeat the training."),
    predict: bool = typer.Option(
        False, "--predict", help="Compare predict.py's predictions with the training code's."
    ),
    allow_code: bool = typer.Option(
        False, "--allow-code", help="Allow running user code (families function and command)."
    ),
    overrides: list[str] = typer.Option(
        [], "--set", help="Where the data is now, as in --set data.path=... (repeatable)."
    ),
    as_json: bool = AsJson,
) -> None:
    """Verify an export: check its files, measure its metric again, repeat its training.

    Needs neither the study nor its database. Exit code 1 if a check fails.
    """
    logs.configure(settings().log_level)
    if predict:
        program = literal(bundle.absolute() / PREDICT)
        err.print(f"`--predict` runs {program}, which comes with the bundle")
    checks = []
    outcomes = run_checks(
        bundle, train=train, predict=predict, allow_code=allow_code, overrides=overrides
    )
    for check in outcomes:
        checks.append(check)
        if not as_json:
            mark = "[green]ok[/]    " if check.passed else "[bold red]failed[/]"
            out.print(f"{mark} {check.name}: {literal(check.detail)}")
            if check.claimed is not None:
                out.print(f"         claimed    [bold]{_exact(check.claimed)}[/]")
                out.print(f"         reproduced [bold]{_exact(check.found)}[/]")
    passed = all(check.passed for check in checks)
    if as_json:
        print_json({"bundle": bundle, "passed": passed, "checks": [asdict(c) for c in checks]})
    raise typer.Exit(0 if passed else 1)


def _exact(value: float | str | None) -> str:
    """Format all digits, so that two similar values can be told apart."""
    return repr(value) if isinstance(value, float) else number(None)
