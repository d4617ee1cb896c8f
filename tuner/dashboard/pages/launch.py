"""The page Launch: a study file as text and as a form, each following the other."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, Request, Response, UploadFile
from fastapi.responses import RedirectResponse

from tuner import export, files
from tuner.commands import launching, reading
from tuner.dashboard.board import Board
from tuner.dashboard.dependencies import MAX_ID, BoardDep
from tuner.dashboard.launch import check, uploads
from tuner.dashboard.launch.form import START, example_data, read_form, read_parameter
from tuner.dashboard.rendering import templates
from tuner.dashboard.security.access import CurrentUser, operator
from tuner.dashboard.security.audit import note
from tuner.errors import BadInputError, StudyExistsError
from tuner.families import registry
from tuner.study_file import edit, overrides
from tuner.study_file.data import PACKAGED
from tuner.study_file.dump import dump
from tuner.study_file.parameters import CategoricalParameter, FixedParameter, Parameter, at
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.samplers import SAMPLERS
from tuner.study_file.study import NAME_LENGTH

router = APIRouter(dependencies=[operator])
Yaml = Annotated[str, Form(max_length=edit.MAX_BYTES)]
Short = Annotated[str, Form(max_length=2_000)]


@router.get("/launch")
def page(
    request: Request,
    board: BoardDep,
    user: CurrentUser,
    clone: Annotated[int | None, Query(ge=1, le=MAX_ID)] = None,
) -> Response:
    """The page; with `clone`, another study's file to edit."""
    text = START if clone is None else _clone(board, clone)
    return _render(request, board, user, text, "launch/page.html")


@router.post("/launch/edit")
def edit_text(
    request: Request,
    board: BoardDep,
    user: CurrentUser,
    yaml: Yaml = "",
    path: Short = "",
    value: Short = "",
    parameter: Short = "",
    mode: Literal["", "default", "range", "choices", "value"] = Form(""),
    low: Short = "",
    high: Short = "",
    log: Annotated[bool, Form()] = False,
    choices: Short = "",
) -> Response:
    """Form, text and verdict after a change of the text or of one field of the form."""
    if parameter:
        section = _section(mode, low, high, choices, value, log=log)
        if section is None and mode != "default":  # just selected: start from the default
            section = _prefill(yaml, parameter, mode)
        section = _keep_conditions(section, read_parameter(yaml, parameter))
        yaml = edit.edited(yaml, ("search", parameter), section)
    elif path:
        yaml = _set_field(yaml, path, value)
    context = {"changed": bool(path or parameter)}
    return _render(request, board, user, yaml, "launch/parts.html", context)


@router.post("/launch/upload")
def upload(
    request: Request, board: BoardDep, user: CurrentUser, file: UploadFile, yaml: Yaml = ""
) -> Response:
    """Store a small data set on this machine, and set it as the study's data."""
    content = file.file.read()
    name = files.safe_name(file.filename or "data")
    path = uploads.keep(board.settings, name, content)
    note(request, f"uploaded {name}, {len(content)} bytes")
    yaml = edit.edited(yaml, ("data",), {"path": str(path)})
    return _render(request, board, user, yaml, "launch/parts.html", {"changed": True})


@router.post("/launch")
def launch(request: Request, board: BoardDep, user: CurrentUser, yaml: Yaml) -> Response:
    """Prepare the data and create the study, ready for workers."""
    try:
        prepared = check.prepare(board, yaml, user)
        study = launching.launch(board.database, prepared, by=user.name).study
    except (BadInputError, StudyExistsError) as error:
        if not request.headers.get("hx-request"):
            raise
        verdict = check.Verdict(problems=tuple(str(error).split("\n")))
        return templates.render(request, "launch/verdict.html", {"verdict": verdict}, status=200)
    note(request, f"launched {study.name}")
    url = f"/studies/{study.id}/overview"
    if request.headers.get("hx-request"):
        return Response(status_code=204, headers={"HX-Redirect": url})
    return RedirectResponse(url, 303)


def _render(
    request: Request,
    board: Board,
    user: CurrentUser,
    text: str,
    template: str,
    more: dict[str, Any] | None = None,
) -> Response:
    context = {
        "text": text,
        "form": read_form(text),
        "verdict": check.check(board, text, user),
        "families": registry.names(),
        "packaged": PACKAGED,
        "samplers": [*SAMPLERS],
        **(more or {}),
    }
    return templates.render(request, template, context)


def _clone(board: Board, study_id: int) -> str:
    """The file of another study, under a free name."""
    study = reading.find_by_id(board.database, study_id)
    if study.spec is None:
        raise BadInputError("a study made through Optuna has no study file to clone")
    content = dump(ResolvedSpec.from_json(study.spec))
    names = {other.name for other in reading.list_studies(board.database)}
    stem = study.name[: NAME_LENGTH - 6]
    content["name"] = next(n for i in range(2, 10_000) if (n := f"{stem}-{i}") not in names)
    return export.yaml_text(content)


def _set_field(text: str, path: str, value: str) -> str:
    """Set one field of the form in the text; an empty value removes it."""
    keys = tuple(path.split("."))
    if not value.strip():
        return edit.edited(text, keys, None)
    if path == "family":
        # another family's space, metric and data do not apply to this one
        for section in ("search", "objective", "forbidden", "enqueue"):
            text = edit.edited(text, (section,), None)
        if (data := example_data(value)) is not None:
            text = edit.edited(text, ("data",), data)
    return edit.edited(text, keys, value if path in ("name", "data.path") else _parse(value))


def _section(mode: str, low: str, high: str, choices: str, value: str, *, log: bool) -> Any:
    """A parameter's section from its row of the form; None if the row is empty."""
    if mode == "range":
        bounds = {k: _parse(v) for k, v in (("low", low), ("high", high)) if v.strip()}
        return {**bounds, **({"log": True} if log else {})} or None
    if mode == "choices":
        return [_parse(part) for part in choices.split(",") if part.strip()] or None
    return _parse(value) if mode == "value" and value.strip() else None


def _keep_conditions(section: Any, before: Any) -> Any:
    """Add what a parameter's row of the form does not show: its conditions."""
    conditions = {
        k: before[k] for k in ("when", "structural") if isinstance(before, dict) and k in before
    }
    if section is None or not conditions:
        return section
    if isinstance(section, dict):
        return {**section, **conditions}
    return {"choices" if isinstance(section, list) else "value": section, **conditions}


def _prefill(text: str, name: str, mode: str) -> Any:
    """The section that a row of the form starts with, from the family's default."""
    form = read_form(text)
    default: Parameter | None = None
    if form is not None and form.card is not None:
        default = form.card.search.get(name)
    if default is None:
        return {"range": {"low": 0.0, "high": 1.0}, "choices": [0, 1], "value": 0}[mode]
    middle = at(default, 0.5)
    if mode == "value":
        return middle
    if isinstance(default, CategoricalParameter):
        return list(default.choices) if mode == "choices" else {"low": 0.0, "high": 1.0}
    if isinstance(default, FixedParameter):
        return [middle] if mode == "choices" else {"low": middle, "high": middle}
    if mode == "choices":
        return [default.low, default.high]
    return {"low": default.low, "high": default.high, **({"log": True} if default.log else {})}


def _parse(text: str) -> Any:
    """A single value as YAML reads it."""
    return overrides.parse_configuration(f"x: {text.strip()}").get("x")
