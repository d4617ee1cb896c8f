"""The tab Notes: what people write about a study, as Markdown.

Whatever they write is sanitized after it has become HTML: no scripts, no styles, no images, which
would tell another server who looks, and links that know nothing of where they were clicked.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

import nh3
from fastapi import APIRouter, Form, Request, Response
from markdown_it import MarkdownIt
from markupsafe import Markup

from tuner.commands import steering
from tuner.dashboard import actions, views
from tuner.dashboard.context import Board, Context, StudyId
from tuner.dashboard.security.access import Who, operator
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
    """What the tab's template is given."""
    with board.database.statement() as connection:
        found = notes.read(connection, study.id)
    return {"note": found, "html": html(found.text)}


def html(text: str) -> Markup:
    """Markdown as HTML that can neither run nor load anything."""
    made = _markdown().render("\n".join(map(clean, text.expandtabs(4).split("\n"))))
    safe = nh3.clean(
        made,
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
    board: Context,
    who: Who,
    study_id: StudyId,
    text: Text,
    revision: Annotated[int, Form(ge=0, le=2**31 - 1)],
) -> Response:
    """Replace the note, unless somebody else has done so since it was read."""
    steering.write_note(board.database, study_id, text, author=who.name, revision=revision)
    answer = actions.answer(request, f"/studies/{study_id}/notes", "saved the note")
    if request.headers.get("hx-request"):
        answer.headers["HX-Redirect"] = f"/studies/{study_id}/notes"
    return answer


@router.post("/studies/{study_id:int}/notes/preview")
def preview(request: Request, study_id: StudyId, text: Text) -> Response:
    """How a note would look."""
    return views.render(request, "study/note.html", {"html": html(text)})
