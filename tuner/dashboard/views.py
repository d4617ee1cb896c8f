"""Templates, and how values look in them: as in the report and on the command line."""

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
from tuner.dashboard import assets
from tuner.dashboard.context import Board
from tuner.figures import theme
from tuner.report.document import STATE_COLOUR
from tuner.report.templating import script_safe, template_environment

SMALL = 1_000  # bytes of a page below which compressing saves no packet

PLACES = (  # path, title, the role that it needs
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
    given = {"request": request, "user": user, "login": board.access.login, **context}
    # lone surrogates cannot be written as UTF-8
    page = _environment().get_template(name).render(given).encode("utf-8", errors="replace")
    headers = {"Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", "") and len(page) > SMALL:
        headers["Content-Encoding"] = "gzip"
        page = gzip.compress(page, 5)
    return HTMLResponse(page, status_code=status, headers=headers)


def moment(given: datetime | None) -> Markup:
    """A time: a script of ours shows it in the viewer's zone."""
    if given is None:
        return Markup("–")
    utc = given.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        utc.isoformat(), utc.strftime("%Y-%m-%d %H:%M UTC")
    )


def _plot_settings() -> Markup:
    """What scripts need to draw figures: Plotly's settings, and each light colour's dark one."""
    config = {**theme.CONFIG, "modeBarButtonsToRemove": ["lasso2d", "autoScale2d"]}
    return script_safe(json.dumps({"config": config, "dark": theme.dark_of()}))


def warm() -> None:
    """Compile the templates, which the first of each page would wait for."""
    environment = _environment()
    for name in environment.list_templates():
        environment.get_template(name)


@cache
def _environment() -> jinja2.Environment:
    environment = template_environment("tuner.dashboard", moment=moment)
    environment.globals |= {
        "static": assets.url,
        "state_colour": STATE_COLOUR,
        "version": __version__,
        "places": PLACES,
        "plot_settings": _plot_settings(),
        "page_colours": (theme.LIGHT.page, theme.DARK.page),
    }
    return environment
