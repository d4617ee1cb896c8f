"""The dashboard in a browser: `dashboard`."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from tuner import logs, processes
from tuner.cli.output import err, literal, out
from tuner.settings import python_environment, settings

PORT = 8470


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(rich_help_panel="Dashboard")(dashboard)


@contextmanager
def dashboard_alongside(*, enabled: bool) -> Iterator[None]:
    """Run a dashboard in a process of its own while the block runs, if `enabled`."""
    if not enabled:
        yield
        return
    leash, guards = socket.socketpair()  # the dashboard ends with this process, however it ends
    command = processes.command("tuner.__main__", "dashboard", "--no-browser", "--port", "0")
    with leash:
        process = subprocess.Popen(
            processes.guarded(guards.fileno(), command),
            env=python_environment(),
            pass_fds=[guards.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        guards.close()
        assert process.stdout is not None
        line = process.stdout.readline().decode().strip()
        if line:  # empty: the dashboard ended, but work continues
            err.print(literal(line))
        yield
    process.stdout.close()
    process.wait()


def dashboard(
    port: int = typer.Option(
        PORT, "--port", min=0, max=65535, help="The port to listen on; 0 picks a free one."
    ),
    browser: bool = typer.Option(True, help="Open the dashboard in a browser."),
    host: str = typer.Option("127.0.0.1", "--host", help="The address to listen on."),
    names: list[str] = typer.Option(
        [], "--host-name", help="A name under which browsers reach this server (repeatable)."
    ),
    certificate: Path | None = typer.Option(
        None, "--certificate", help="The certificate for HTTPS (PEM)."
    ),
    key: Path | None = typer.Option(None, "--key", help="The certificate's key (PEM)."),
    behind_tls: bool = typer.Option(
        False, "--behind-tls", help="A proxy in front serves HTTPS to browsers."
    ),
    proxies: list[str] = typer.Option(
        [], "--proxy", help="The proxy's address or network, if not this machine (repeatable)."
    ),
    login: bool = typer.Option(False, "--login", help="Require accounts on this machine too."),
) -> None:
    """Serve the dashboard on this machine and open it in a browser."""
    from tuner.dashboard.server import Place, serve  # imports FastAPI and Plotly

    chosen = settings()
    logs.configure(chosen.log_level)
    place = Place(host, port, names, certificate, key, behind_tls, proxies, login)

    def started(address: str, is_new: bool) -> None:
        # on one line even in a narrow terminal, so that it can be copied
        out.print(f"dashboard at [bold]{address}[/]", soft_wrap=True)
        if is_new:
            err.print("[dim]press Ctrl-C to end it; studies and workers continue[/]")
        else:
            err.print("[dim]it was already running[/]")

    serve(chosen, place, browser=browser, on_start=started)
