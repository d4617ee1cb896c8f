"""`tuner dashboard`: the pages in a browser."""

import typer

from tuner import logs
from tuner.settings import settings

PORT = 8470


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(rich_help_panel="Look")(dashboard)


def dashboard(
    port: int = typer.Option(PORT, "--port", min=0, max=65535, help="0: any free one."),
    browser: bool = typer.Option(True, help="Open the pages in a browser."),
) -> None:
    """Serve the dashboard on this machine and open it in a browser."""
    from tuner.dashboard.server import serve  # with FastAPI and Plotly

    chosen = settings()
    logs.configure(chosen.log_level)
    serve(chosen, port=port, browser=browser)
