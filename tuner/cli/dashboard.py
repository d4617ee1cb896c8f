"""`tuner dashboard`: the pages in a browser."""

from pathlib import Path

import typer

from tuner import logs
from tuner.cli.output import err, out
from tuner.settings import settings

PORT = 8470


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(rich_help_panel="Dashboard")(dashboard)


def dashboard(
    port: int = typer.Option(PORT, "--port", min=0, max=65535, help="0: any free one."),
    browser: bool = typer.Option(True, help="Open the pages in a browser."),
    host: str = typer.Option("127.0.0.1", "--host", help="Where to listen."),
    names: list[str] = typer.Option(
        [], "--host-name", help="A name that browsers use for this server (repeatable)."
    ),
    certificate: Path | None = typer.Option(None, "--certificate", help="For HTTPS (PEM)."),
    key: Path | None = typer.Option(None, "--key", help="The certificate's key (PEM)."),
    behind_tls: bool = typer.Option(
        False, "--behind-tls", help="A proxy in front speaks HTTPS to browsers."
    ),
    login: bool = typer.Option(False, "--login", help="Ask for accounts on this machine too."),
) -> None:
    """Serve the dashboard on this machine and open it in a browser."""
    from tuner.dashboard.server import Place, serve  # with FastAPI and Plotly

    chosen = settings()
    logs.configure(chosen.log_level)
    place = Place(host, port, names, certificate, key, behind_tls, login)

    def started(address: str) -> None:
        out.print(f"dashboard at [bold]{address}[/]")
        err.print("[dim]Ctrl-C ends it; studies and workers go on[/]")

    serve(chosen, place, browser=browser, on_start=started)
