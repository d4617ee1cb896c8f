"""The page Launch: a study file as text and as a form, each following the other."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, Request, Response, UploadFile
from fastapi.responses import RedirectResponse

from tuner import export, families, files
from tuner.commands import launching, reading
from tuner.dashboard import launch_form, uploads, views
from tuner.dashboard.context import ID, Board, Context
from tuner.dashboard.security.access import Who, operator
from tuner.dashboard.security.audited import note
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
    board: Context,
    who: Who,
    clone: Annotated[int | None, Query(ge=1, le=ID)] = None,
) -> Response:
    """The page; with `clone`, the study file of another study to edit."""
    text = launch_form.START if clone is None else _cloned(board, clone)
    return _rendered(request, board, who, text, "launch/page.html")


@router.post("/launch/edit")
def change(
    request: Request,
    board: Context,
    who: Who,
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
    """What becomes of form and verdict when the text, or one field of the form, has changed."""
    if parameter:
        given = _searched(mode, low, high, choices, value, log=log)
        if given is None and mode != "default":  # just chosen: the default to start from
            given = _prefilled(yaml, parameter, mode)
        given = _with_conditions(given, launch_form.section(yaml, parameter))
        yaml = edit.edited(yaml, ("search", parameter), given)
    elif path:
        yaml = _set(yaml, path, value)
    context = {"changed": bool(path or parameter)}
    return _rendered(request, board, who, yaml, "launch/parts.html", context)


@router.post("/launch/upload")
def upload(
    request: Request, board: Context, who: Who, file: UploadFile, yaml: Yaml = ""
) -> Response:
    """Keep a small data set on this machine, and name it as the study's data."""
    content = file.file.read()
    name = files.safe_name(file.filename or "data")
    path = uploads.keep(board.settings, name, content)
    note(request, f"uploaded {name}, {len(content)} bytes")
    yaml = edit.edited(yaml, ("data",), {"path": str(path)})
    return _rendered(request, board, who, yaml, "launch/parts.html", {"changed": True})


@router.post("/launch")
def launch(request: Request, board: Context, who: Who, yaml: Yaml) -> Response:
    """Prepare the data and make the study, ready for workers."""
    try:
        source = launch_form.source(board, yaml)
        prepared_spec = families.confirm(source)
        launch_form.check_allowed(board, prepared_spec, who)
        prepared = launch_form.prepare(board, source)
        study = launching.launch(board.database, prepared, by=who.name).study
    except (BadInputError, StudyExistsError) as error:
        if not request.headers.get("hx-request"):
            raise
        verdict = launch_form.Verdict(problems=tuple(str(error).split("\n")))
        return views.render(request, "launch/verdict.html", {"verdict": verdict}, status=200)
    note(request, f"launched {study.name}")
    there = f"/studies/{study.id}/overview"
    if request.headers.get("hx-request"):
        return Response(status_code=204, headers={"HX-Redirect": there})
    return RedirectResponse(there, 303)


def _rendered(
    request: Request,
    board: Board,
    who: Who,
    text: str,
    template: str,
    more: dict[str, Any] | None = None,
) -> Response:
    context = {
        "text": text,
        "form": launch_form.form(text),
        "verdict": launch_form.verdict(board, text, who),
        "families": registry.NAMES,
        "packaged": PACKAGED,
        "samplers": [*SAMPLERS],
        **(more or {}),
    }
    return views.render(request, template, context)


def _cloned(board: Board, study_id: int) -> str:
    study = reading.find_by_id(board.database, study_id)
    if study.spec is None:
        raise BadInputError("a study that was made through Optuna has no study file to clone")
    content = dump(ResolvedSpec.from_json(study.spec))
    taken = {one.name for one in reading.list_studies(board.database)}
    stem = study.name[: NAME_LENGTH - 6]
    content["name"] = next(n for i in range(2, 10_000) if (n := f"{stem}-{i}") not in taken)
    return export.yaml_text(content)


def _set(text: str, path: str, value: str) -> str:
    """One field of the form in the text; emptied, it goes."""
    keys = tuple(path.split("."))
    if not value.strip():
        return edit.edited(text, keys, None)
    if path == "family":
        # the space, the metric and the data of another family mean nothing here
        for section in ("search", "objective", "forbidden", "enqueue"):
            text = edit.edited(text, (section,), None)
        if value in launch_form.EXAMPLES:
            text = edit.edited(text, ("data",), launch_form.EXAMPLES[value])
    given = value if path in ("name", "data.path") else _value(value)
    return edit.edited(text, keys, given)


def _searched(mode: str, low: str, high: str, choices: str, value: str, *, log: bool) -> Any:
    """A parameter's section from its row of the form."""
    if mode == "range":
        bounds = {k: _value(v) for k, v in (("low", low), ("high", high)) if v.strip()}
        return {**bounds, **({"log": True} if log else {})} or None
    if mode == "choices":
        return [_value(part) for part in choices.split(",") if part.strip()] or None
    return _value(value) if mode == "value" and value.strip() else None


def _with_conditions(given: Any, before: Any) -> Any:
    """What the row of the form does not show of a parameter's section stays."""
    kept = {
        k: before[k] for k in ("when", "structural") if isinstance(before, dict) and k in before
    }
    if given is None or not kept:
        return given
    if isinstance(given, dict):
        return {**given, **kept}
    return {"choices" if isinstance(given, list) else "value": given, **kept}


def _prefilled(text: str, name: str, mode: str) -> Any:
    """What a row of the form begins with, from the family's default."""
    known = launch_form.form(text)
    default: Parameter | None = None
    if known is not None and known.card is not None:
        default = known.card.search.get(name)
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


def _value(text: str) -> Any:
    """A single value as YAML reads it."""
    return overrides.parse_configuration(f"x: {text.strip()}").get("x")
