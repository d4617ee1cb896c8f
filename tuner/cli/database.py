"""The database and the installation: `db upgrade|status|url|stop`, `doctor`, `schema`."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Literal

import typer

from tuner import __version__
from tuner.cli.output import AsJson, literal, open_database, out, print_json, spell_commands, table
from tuner.database import embedded, schema, workers
from tuner.database.engine import connect, masked
from tuner.database.health import health
from tuner.errors import TunerError
from tuner.settings import Settings, settings
from tuner.study_file.messages import counted
from tuner.study_file.schema import study_schema
from tuner.worker import devices
from tuner.worker.devices import host

MIN_FREE = 2**30  # bytes of disk below which doctor warns
PANEL = "Installation"


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    db = typer.Typer(help="Manage the database.", no_args_is_help=True)
    for command in (upgrade, status, url, stop):
        db.command()(command)
    app.add_typer(db, name="db", rich_help_panel=PANEL)
    app.command(rich_help_panel=PANEL)(doctor)
    app.command("schema", rich_help_panel=PANEL)(schema_)


def upgrade() -> None:
    """Upgrade the database's schema to this version of tuner."""
    database = connect(settings())
    try:
        schema.upgrade(database)
        out.print(f"the schema is version {schema.newest()}")
    finally:
        database.close()


def status(as_json: bool = AsJson) -> None:
    """Show where the database is and how it is doing."""
    with open_database() as (chosen, database):
        with database.transaction() as connection:
            version = schema.current(connection)
            server = health(connection)
            alive = workers.alive(connection)
        properties = {
            "server": "embedded" if database.is_embedded else "set by TUNER_DATABASE_URL",
            "url": masked(database.url),
            "postgresql": server.server,
            "schema": version,
            "size": f"{server.bytes / 2**20:.1f} MiB",
            "connections": server.connections,
            "workers": len(alive),
            "home": str(chosen.home),
        }
    _print_facts(properties, as_json)


def _print_facts(properties: Mapping[str, object], as_json: bool) -> None:
    if as_json:
        print_json(properties)
        return
    listing = table("", "")
    listing.show_header = False
    for key, value in properties.items():
        listing.add_row(f"[dim]{key}[/]", literal(value))
    out.print(listing)


def url(
    show_password: bool = typer.Option(
        False, "--show-password", help="Include the password, for psql or other programs."
    ),
    optuna: bool = typer.Option(
        False, "--optuna", help="Print a storage URL for Optuna and optuna-dashboard (read-only)."
    ),
) -> None:
    """Print the database's URL."""
    with open_database() as (_, database):
        if optuna:
            printed = schema.views_url(database.url)
        else:
            printed = database.url.set(drivername="postgresql")  # as psql and others expect it
        whole = printed.render_as_string(hide_password=False)
        typer.echo(whole if show_password else masked(printed))


def stop(
    force: bool = typer.Option(False, "--force", help="Stop it even while other processes use it."),
) -> None:
    """Stop the embedded server of this home."""
    stopped = embedded.stop(settings().home, force=force)
    out.print("stopped" if stopped else "the server was not running")


def schema_() -> None:
    """Print the JSON schema of study files, for editors."""
    print_json(study_schema())


@dataclass(frozen=True, slots=True)
class _Check:
    name: str
    verdict: Literal["ok", "warning", "wrong"]
    finding: str


def doctor(as_json: bool = AsJson) -> None:
    """Check versions, torch, devices, disk and database.

    Exit code 1 if something is wrong.
    """
    chosen = settings()
    checks = [
        _checked(name, check, chosen)
        for name, check in (
            ("versions", _versions),
            ("torch", _torch),
            ("devices", _devices),
            ("disk", _disk),
            ("database", _database),
        )
    ]
    if as_json:
        print_json(checks)
    else:
        listing = table("", "", "")
        listing.show_header = False
        marks = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "wrong": "[red]✗[/]"}
        for check in checks:
            listing.add_row(marks[check.verdict], check.name, literal(check.finding))
        out.print(listing)
    if any(check.verdict == "wrong" for check in checks):
        raise typer.Exit(1)


def _checked(name: str, check: Callable[[Settings], _Check], chosen: Settings) -> _Check:
    try:
        return check(chosen)
    except TunerError as error:
        return _Check(name, "wrong", spell_commands(str(error)))


def _versions(_: Settings) -> _Check:
    return _Check(
        "versions",
        "ok",
        f"tuner {__version__}, Python {platform.python_version()}, "
        f"optuna {metadata.version('optuna')}, {sys.platform} {platform.machine()}",
    )


def _torch(_: Settings) -> _Check:
    if find_spec("torch") is None:
        return _Check("torch", "wrong", "torch is not installed: pip install torch")
    return _Check("torch", "ok", f"torch {metadata.version('torch')}")


def _devices(_: Settings) -> _Check:
    machine = f"{counted(host.cores(), 'CPU core')}, {host.memory() / 2**30:.0f} GiB"
    available = devices.find("auto")
    if available[0].kind == "cpu":
        return _Check("devices", "ok", f"{machine}; no GPU, trials run on the CPU")
    gpus = ", ".join(
        f"{device.name} {device.model}, {device.memory / 2**30:.0f} GiB" for device in available
    )
    return _Check("devices", "ok", f"{gpus}; {machine}")


def _disk(chosen: Settings) -> _Check:
    folder = chosen.home
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return _Check("disk", "wrong", f"{chosen.home} is not writable; see TUNER_HOME")
    free = shutil.disk_usage(folder).free
    finding = f"{free / 2**30:.1f} GiB free at {chosen.home}"
    return _Check("disk", "ok" if free >= MIN_FREE else "warning", finding)


def _database(chosen: Settings) -> _Check:
    database = connect(chosen)
    try:
        with database.transaction() as connection:
            version = schema.current(connection)
            server = health(connection).server
        where = "embedded" if database.is_embedded else "external"
        if version not in (None, schema.newest()):
            schema.check(database)
        state = "not set up yet" if version is None else f"schema {version}"
        return _Check("database", "ok", f"{where} PostgreSQL {server}, {state}")
    finally:
        database.close()
