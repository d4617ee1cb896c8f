"""The tab Notes: users' notes about a study, as Markdown.

A note is sanitized after it has become HTML: no scripts, no styles, no images (which would tell
another server who reads it), and links that do not reveal where they were clicked.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

import nh3
from fastapi import APIRouter, Form, Request, Response
from markdown_it import MarkdownIt
from markupsafe import Markup

from tuner.commands import steering
from tuner.dashboard import actions
from tuner.dashboard.board import Board
from tuner.dashboard.dependencies import BoardDep, StudyId
from tuner.dashboard.rendering import templates
from tuner.dashboard.security.access import CurrentUser, operator
from tuner.database import notes
from tuner.figures.text import clean
from tuner.trials import Study

MAX_TEXT = 50_000  # characters
TAGS = frozenset(
    (
        *("a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr"),
        *("li", "ol", "p", "pre", "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
    )
)

router = APIRouter(dependencies=[operator])
Text = Annotated[str, Form(max_length=MAX_TEXT)]


def context(board: Board, study: Study) -> Mapping[str, Any]:
    """The variables of the tab's template."""
    with board.database.statement() as connection:
        note = notes.read(connection, study.id)
    return {"note": note, "html": to_html(note.text)}


def to_html(text: str) -> Markup:
    """Markdown as HTML that can neither run nor load anything."""
    unsafe = _markdown().render("\n".join(map(clean, text.expandtabs(4).split("\n"))))
    safe = nh3.clean(
        unsafe,
        tags=set(TAGS),
        attributes={"a": {"href"}, "ol": {"start"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )
    return Markup(safe)  # noqa: S704 - sanitized just now


@cache
def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


@router.post("/studies/{study_id:int}/notes")
def write(
    request: Request,
    board: BoardDep,
    user: CurrentUser,
    study_id: StudyId,
    text: Text,
    revision: Annotated[int, Form(ge=0, le=2**31 - 1)],
) -> Response:
    """Replace the note, unless somebody else has since it was read."""
    steering.write_note(board.database, study_id, text, author=user.name, revision=revision)
    response = actions.respond(request, f"/studies/{study_id}/notes", "saved the note")
    if request.headers.get("hx-request"):
        response.headers["HX-Redirect"] = f"/studies/{study_id}/notes"
    return response


@router.post("/studies/{study_id:int}/notes/preview")
def preview(request: Request, study_id: StudyId, text: Text) -> Response:
    """The note as it would look."""
    return templates.render(request, "study/note.html", {"html": to_html(text)})
