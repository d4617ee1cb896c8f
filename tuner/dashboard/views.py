"""Templates, and how values look in them: as in the report and on the command line."""

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
    page = _environment().get_template(name).render(given)
    # lone surrogates cannot be written as UTF-8
    return HTMLResponse(page.encode("utf-8", errors="replace"), status_code=status)


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
