"""Templates, with values formatted as in the report and on the command line."""

import gzip
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from tuner import __version__
from tuner.accounts import Role
from tuner.dashboard.board import Board
from tuner.dashboard.rendering import assets
from tuner.figures import theme
from tuner.report.document import STATE_COLOUR
from tuner.report.templating import script_safe, template_environment

SMALL = 1_000  # bytes: compressing a smaller page saves no packet

PAGES = (  # path, title, the role it needs
    ("/studies", "Studies", Role.VIEWER),
    ("/compare", "Compare", Role.VIEWER),
    ("/fleet", "Fleet", Role.VIEWER),
    ("/launch", "Launch", Role.OPERATOR),
    ("/audit", "Activity", Role.ADMIN),
)


def render(
    request: Request, name: str, context: Mapping[str, Any], *, status: int = 200
) -> HTMLResponse:
    """A page, or a part of one."""
    user = getattr(request.state, "user", None)
    board: Board = request.app.state.board
    variables = {"request": request, "user": user, "login": board.access.login, **context}
    # lone surrogates cannot be written as UTF-8
    page = _environment().get_template(name).render(variables).encode("utf-8", errors="replace")
    headers = {"Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", "") and len(page) > SMALL:
        headers["Content-Encoding"] = "gzip"
        page = gzip.compress(page, 5)
    return HTMLResponse(page, status_code=status, headers=headers)


def format_time(time: datetime | None) -> Markup:
    """A `<time>` element in UTC, which base.js shows in the viewer's zone."""
    if time is None:
        return Markup("–")
    utc = time.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        utc.isoformat(), utc.strftime("%Y-%m-%d %H:%M UTC")
    )


def _plot_settings() -> Markup:
    """What scripts need to draw figures: Plotly's settings, and the dark of each light colour."""
    config = {**theme.CONFIG, "modeBarButtonsToRemove": ["lasso2d", "autoScale2d"]}
    return script_safe(json.dumps({"config": config, "dark": theme.dark_of()}))


def warm() -> None:
    """Compile the templates, so that the first view of a page need not wait for that."""
    environment = _environment()
    for name in environment.list_templates():
        environment.get_template(name)


@cache
def _environment() -> jinja2.Environment:
    environment = template_environment("tuner.dashboard", moment=format_time)
    environment.globals |= {
        "static": assets.url,
        "state_colour": STATE_COLOUR,
        "version": __version__,
        "navigation": PAGES,
        "plot_settings": _plot_settings(),
        "page_colours": (theme.LIGHT.page, theme.DARK.page),
    }
    return environment
