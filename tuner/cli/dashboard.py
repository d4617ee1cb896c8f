"""`tuner dashboard`: the pages in a browser."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from tuner import logs, processes
from tuner.cli.output import err, out, shown
from tuner.settings import python_environment, settings

PORT = 8470


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(rich_help_panel="Dashboard")(dashboard)


@contextmanager
def beside(*, wanted: bool) -> Iterator[None]:
    """A dashboard in a process of its own, where one is wanted, for as long as the block runs."""
    if not wanted:
        yield
        return
    leash, guards = socket.socketpair()  # however this process ends, the dashboard does then
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
        said = process.stdout.readline().decode().strip()
        if said:  # else it has ended, which is no reason not to work
            err.print(shown(said))
        yield
    process.stdout.close()
    process.wait()


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
    proxies: list[str] = typer.Option(
        [], "--proxy", help="Address or network of that proxy, if on another machine (repeatable)."
    ),
    login: bool = typer.Option(False, "--login", help="Ask for accounts on this machine too."),
) -> None:
    """Serve the dashboard on this machine and open it in a browser."""
    from tuner.dashboard.server import Place, serve  # with FastAPI and Plotly

    chosen = settings()
    logs.configure(chosen.log_level)
    place = Place(host, port, names, certificate, key, behind_tls, proxies, login)

    def started(address: str, is_new: bool) -> None:
        # whole, however narrow the terminal is: it is to be copied
        out.print(f"dashboard at [bold]{address}[/]", soft_wrap=True)
        if is_new:
            err.print("[dim]Ctrl-C ends it; studies and workers go on[/]")
        else:
            err.print("[dim]it was running already[/]")

    serve(chosen, place, browser=browser, on_start=started)
