"""The REST API: whatever its description allows gets an answer, and the answers are right."""

import io
import json
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import response_schema_conformance

import tuner
from tests.support.bench import Bench
from tuner.commands import exporting
from tuner.dashboard.app import create_app
from tuner.dashboard.board import Board
from tuner.database import leases, results, studies
from tuner.database.engine import Database
from tuner.errors import BadInputError, StudyClosedError
from tuner.origin import Origin
from tuner.search.storage import Storage
from tuner.settings import Settings
from tuner.trials import Cause, Report, Study, Trial, TrialState

STUDY = "name: s\nfamily: cnn\ndata: digits\nbudget: {trials: 3, epochs: 1}\n"


@pytest.fixture
def client(database: Database, tmp_path: Path) -> Iterator[TestClient]:
    board = Board(database, Settings(home=tmp_path / "home"))
    app = create_app(board, hosts=("localhost", "testserver"))  # schemathesis' name for it
    client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
    client.headers |= board.access.secret.header
    yield client


@pytest.fixture
def schema(client: TestClient, database: Database) -> schemathesis.BaseSchema:
    bench = Bench(database)
    claim = bench.claim()
    bench.do(results.report, claim, [Report(1, 0.5)], lease=60.0)
    bench.finish(claim, TrialState.FAILED, cause=Cause.DIVERGED, message="\x1b[31m<b>NaN</b>")
    bench.claim()
    document = schemathesis.openapi.from_asgi(
        "/api/v1/openapi.json", client.app, headers=dict(client.headers)
    )
    # whatever is done to the studies, the next example finds them
    return document.exclude(path_regex="stream|figures|table|csv").exclude(method="DELETE")


def test_whatever_the_description_allows_is_answered(
    client: TestClient, schema: schemathesis.BaseSchema
) -> None:
    operations = [outcome.ok() for outcome in schema.get_all_operations()]
    assert len(operations) > 10
    for operation in operations:

        @settings(
            max_examples=10,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def answered(case: schemathesis.Case) -> None:
            answer = case.call(headers=dict(client.headers))
            assert answer.status_code < 500, f"{case.method} {case.path}: {answer.text}"
            case.validate_response(answer, checks=(response_schema_conformance,))

        answered()


def undescribed(document: dict[str, Any]) -> list[str]:
    """What has no description: operations, parameters, request bodies' fields, models, fields."""
    operations = [
        (f"{method} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    models = document["components"]["schemas"].items()
    described = [
        *operations,
        *((f"{at}: {p['name']}", p) for at, op in operations for p in op.get("parameters", ())),
        *((f"{at}: {s}", r) for at, op in operations for s, r in op["responses"].items()),
        *models,
        *(
            (f"{name}.{f}", field)
            for name, m in models
            for f, field in m.get("properties", {}).items()
        ),
    ]
    return [name for name, part in described if not part.get("description")]


def test_everything_in_the_description_is_described(client: TestClient) -> None:
    document = client.get("/api/v1/openapi.json").json()
    assert undescribed(document) == []
    schemas = document["components"]["schemas"]
    assert schemas["StudyRecord"]["properties"]["training_seconds"]["type"] == "number"
    errors = document["paths"]["/api/v1/studies/{study_id}"]["get"]["responses"]
    assert errors["404"]["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorMessage")
    del schemas["ErrorMessage"]["properties"]["error"]["description"]
    del document["paths"]["/api/v1/workers"]["get"]["description"]
    assert undescribed(document) == ["get /api/v1/workers", "ErrorMessage.error"]


def test_a_study_is_launched_steered_and_deleted(client: TestClient) -> None:
    verdict = client.post("/api/v1/studies/check", json={"yaml": STUDY}).json()
    assert verdict["problems"] == []
    assert "in 3 trials of at most 1 epoch" in verdict["facts"][0]
    launched = client.post("/api/v1/studies", json={"yaml": STUDY})
    assert launched.status_code == 201, launched.text
    study = launched.json()
    assert (study["name"], study["state"], study["launched_by"]) == ("s", "active", "local")
    here = f"/api/v1/studies/{study['id']}"

    again = client.post("/api/v1/studies", json={"yaml": STUDY})
    assert again.status_code == 409
    assert "a study named `s` exists already" in again.json()["error"]

    assert client.post(f"{here}/pause").json()["state"] == "paused"
    changed = client.post(f"{here}/change", json={"assignments": ["budget.trials=5"]}).json()
    assert changed["changes"] == ["budget.trials: 3 → 5"]
    assert client.post(f"{here}/enqueue", json={"params": {"dropout": 0.5}}).json() == {"trial": 0}
    assert client.get(f"{here}/trials/0").json()["state"] == "waiting"
    killed = client.post(f"{here}/trials/0/kill").json()
    assert (killed["state"], killed["cause"], killed["message"]) == (
        "failed",
        "killed",
        "killed by local",
    )
    assert client.post(f"{here}/retry").json() == {"trials": [0]}
    client.post(f"{here}/change", json={"assignments": ["budget.trials=1"]})
    refused = client.post(f"{here}/enqueue", json={"params": {}})
    assert refused.status_code == 409
    assert "the only trial of the study `s` is given out" in refused.json()["error"]
    more = {"params": {}, "extend": True}
    assert client.post(f"{here}/enqueue", json=more).json() == {"trial": 1}
    page = client.post(f"/studies/{study['id']}/enqueue", data={"params": "dropout: 0.1"})
    assert page.status_code == 409
    form = {"params": "dropout: 0.1", "extend": "true"}
    page = client.post(f"/studies/{study['id']}/enqueue", data=form, follow_redirects=False)
    assert page.status_code == 303
    assert client.get(here).json()["max_trials"] == 3
    note = {"text": "good", "revision": 0}
    assert client.put(f"{here}/note", json=note).json()["revision"] == 1
    assert client.put(f"{here}/note", json=note).status_code == 409
    assert client.get("/api/v1/studies").json()["studies"][0]["counts"]["waiting"] == 3

    wrong = client.request("DELETE", here, json={"name": "t"})
    assert wrong.status_code == 422
    assert client.request("DELETE", here, json={"name": "s"}).json() == {"deleted": "s"}
    assert client.get(here).status_code == 404


def toast(response: Any) -> str:
    """The message that an open page shows."""
    assert response.status_code == 204, response.text
    return unquote(json.loads(response.headers["hx-trigger"])["tuner:done"]["message"])


def test_an_empty_field_of_the_form_takes_a_limit_away(client: TestClient) -> None:
    study = client.post("/api/v1/studies", json={"yaml": STUDY}).json()
    change, hx = f"/studies/{study['id']}/change", {"hx-request": "true"}
    for form, what in (
        ({"hours": "2", "max_concurrent": "3"}, "budget.hours: null → 2.0"),
        ({"hours": ""}, "budget.hours: 2.0 → null"),
        ({}, "nothing changed: these are already its values"),
        ({"max_concurrent": " "}, "resources.max_concurrent: 3 → null"),
    ):
        assert what in toast(client.post(change, data=form, headers=hx)), form
    refused = client.post(change, data={"trials": ""}, headers=hx)
    assert (refused.status_code, refused.text) == (
        422,
        "budget.trials: must be a whole number, is empty",
    )
    assert client.post(change, data={"trials": "9" * 41}, headers=hx).status_code == 422


def test_a_study_of_optuna_is_steered_from_its_page(client: TestClient, database: Database) -> None:
    study = tuner.create_study(study_name="made", storage=Storage(database), trials=3)
    trial = study.ask()
    here, hx = f"/studies/{study._study_id}", {"hx-request": "true"}

    def controls() -> list[str]:
        return re.findall(r">([A-Z][a-z ]+…?)</button>", client.get(f"{here}/header").text)

    assert controls() == [
        "Pause",
        "Stop",
        "Change the budget…",
        "Enqueue a configuration…",
        "Delete…",
    ]
    assert toast(client.post(f"{here}/pause", headers=hx)) == (
        "paused made: no new trials start, and running ones continue to their end"
    )
    assert controls()[:2] == ["Resume", "Stop"]
    with pytest.raises(StudyClosedError, match=r"the study `made` is paused"):
        study.ask()
    assert toast(client.post(f"{here}/resume", headers=hx)) == (
        "made is active: its trials run where `study.optimize` is called"
    )
    for budget, change in (("5", "3 → 5"), ("", "5 → not set"), ("1", "not set → 1")):
        answer = client.post(f"{here}/change", data={"trials": budget}, headers=hx)
        assert toast(answer) == f"budget.trials: {change}"
    assert "nothing changed" in toast(client.post(f"{here}/change", data={}, headers=hx))
    page = client.get(f"{here}/overview").text
    dialog = page[page.index('<dialog id="change"') : page.index('<dialog id="enqueue"')]
    assert re.findall(r'<input name="(\w+)".*?value="(.*?)"', dialog) == [("trials", "1")]
    assert "Run by Optuna" in client.get(f"{here}/trials/{trial.number}").text


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("name: s\nfamily: cnm\ndata: digits\n", "the study file:2: family: "),
        (
            "name: s\nfamily: cnn\ndata: digits\nsearch: {lr: 3}\n",
            "the study file:4: search: unknown parameter `lr`",
        ),
        ("name: [", "the study file:1: is not valid YAML"),
    ],
)
def test_a_study_file_is_refused_in_the_words_of_the_command_line(
    client: TestClient, yaml: str, message: str
) -> None:
    answer = client.post("/api/v1/studies", json={"yaml": yaml})
    assert answer.status_code == 422
    assert message in answer.json()["error"]


def test_what_is_no_unicode_is_answered_as_well(client: TestClient, database: Database) -> None:
    bench = Bench(database)
    bench.finish(bench.claim(), user_attrs={"k": "\udfff"})
    here = f"/api/v1/studies/{bench.id}"
    assert client.get(f"{here}/trials/0").json()["user_attrs"] == {"k": "\udfff"}
    assert client.get(f"/studies/{bench.id}/trials/0").status_code == 200
    wrong = client.post(
        f"{here}/enqueue",
        content=b'{"params": {"\\ud800": "\\udfff"}}',
        headers={"Content-Type": "application/json"},
    )
    assert wrong.status_code in (201, 422)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = b"name=%ED%B3%BF%00&password=%ED%B3%BF%00"
    assert client.post("/login", content=body, headers=form).status_code == 401


def test_a_trials_curves_are_of_learning(database: Database, client: TestClient) -> None:
    bench = Bench(database)
    claim = bench.claim()
    reports = [Report(n, n / 4, {"f1_macro": n / 5, "parameters": 7.0}) for n in (1, 2)]
    bench.finish(claim, user_attrs={"parameters": 7.0}, reports=reports)
    page = client.get(f"/studies/{bench.id}/trials/0").text
    curves = page[page.index(">Curves<") : page.index(">Log<")]
    assert "f1_macro" in curves
    assert "parameters" not in curves


def test_a_trial_says_how_it_was_proposed_and_why_it_was_pruned(
    database: Database, client: TestClient
) -> None:
    bench = Bench(database)
    origin = Origin(kind="model", sampler="gp", learned_from=23, predicted=0.5, gain=1e-3)
    reason = "rung at epoch 1: 0.4 ranks 3rd of 3; only the best goes on"
    bench.finish(bench.claim(origin=origin), TrialState.PRUNED, message=reason)
    bench.finish(bench.claim())  # as an earlier version stored it
    here = f"/studies/{bench.id}/trials"
    trial, old = (client.get(f"/api/v1{here}/{number}").json() for number in range(2))
    assert trial["origin"] == {
        "kind": "model",
        "sampler": "gp",
        "learned_from": 23,
        "predicted": 0.5,
        "gain": 0.001,
    }
    assert (trial["message"], old["message"], old["origin"]) == (reason, None, None)
    page = client.get(f"{here}/0").text
    assert "Proposed: Gaussian process, from 23 trials; predicted 0.5, expected gain 0.001" in page
    assert reason in page
    assert "Proposed" not in client.get(f"{here}/1").text


def test_a_paused_trial_is_shown_as_such(database: Database, client: TestClient) -> None:
    bench = Bench(database, max_trials=4)
    for _ in range(2):
        paused = bench.claim()
        bench.do(results.report, paused, [Report(1, 0.5)], lease=60.0)
        bench.do(results.finish, paused, TrialState.PAUSED, [0.5], message="rung at epoch 1")
    bench.claim(promotable={0: 1})
    assert client.get(f"/api/v1/studies/{bench.id}").json()["counts"]["paused"] == 1
    answer = client.get(f"/api/v1/studies/{bench.id}/trials/1").json()
    assert (answer["state"], answer["values"]) == ("paused", [0.5])
    page = client.get(f"/studies/{bench.id}/trials/1").text
    assert '<span class="pill paused">paused</span> <span>rung at epoch 1</span>' in page
    assert "Kill" in page
    promoted = client.get(f"/studies/{bench.id}/trials/0").text
    assert "<b>2</b> running" in promoted
    assert "<b>1</b> paused at a rung" in promoted
    rows = client.get(f"/api/v1/studies/{bench.id}/table", params={"state": "paused"}).json()
    assert [row[0] for row in rows["rows"]] == [1]
    curves = client.get(f"/api/v1/studies/{bench.id}/figures/curves").json()
    assert "paused" in {trace.get("name") for trace in curves["figure"]["data"]}


def test_lists_come_in_pages(client: TestClient, database: Database) -> None:
    for name in ("a", "b", "c"):
        Bench(database, name)
    page = client.get("/api/v1/studies", params={"offset": 1, "limit": 1}).json()
    assert page["total"] == 3
    assert [study["name"] for study in page["studies"]] == ["b"]
    assert "spec" not in page["studies"][0]
    assert client.get("/api/v1/studies", params={"limit": 10_000}).status_code == 422


def test_metrics_count_what_there_is(client: TestClient, database: Database) -> None:
    bench = Bench(database)
    bench.finish(bench.claim())
    bench.do(leases.requeue, bench.claim(), Cause.PREEMPTED)
    lines = client.get("/metrics").text.splitlines()
    assert 'tuner_studies{state="active"} 1' in lines
    assert 'tuner_trials{state="complete"} 1' in lines
    assert 'tuner_trials{state="waiting"} 1' in lines
    assert "tuner_workers 0" in lines
    assert client.get("/healthz").json() == {"status": "ok"}


def test_the_front_of_several_objectives_is_exported(
    client: TestClient, database: Database
) -> None:
    with database.transaction() as connection:
        study = studies.create(
            connection, "both", ["maximize", "minimize"], metrics=["accuracy", "seconds"]
        )
    bench = Bench(database)
    bench.id = study
    for values in ([0.9, 5.0], [0.8, 1.0], [0.7, 2.0]):
        bench.do(results.finish, bench.claim(), TrialState.COMPLETE, values)
    here = f"/studies/{study}/export/file"
    export = client.get(here, params={"front": True}).text
    assert "# accuracy 0.9, seconds 5.0, trial 0 of both" in export
    assert "trial 1 of both" in export
    assert "trial 2 of both" not in export
    only = client.get(here, params={"format": "json"})
    assert only.json() == {"x": 0.5}
    assert only.headers["content-disposition"].startswith("attachment")


def test_bundle_and_report_are_downloaded(
    client: TestClient, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    bench = Bench(database)
    with database.transaction() as connection:
        bench.id = studies.create(connection, "a/b <i>", ["maximize"])
    here = f"/studies/{bench.id}/export"
    refused = client.post(f"{here}/bundle")
    assert refused.status_code == 409
    assert "has no complete trial" in refused.text
    for value in (0.5, 0.75):
        bench.do(results.finish, bench.claim(), TrialState.COMPLETE, [value])

    def export(_: object, __: object, study: Study, trial: Trial, folder: Path) -> None:
        assert (study.id, trial.number) == (bench.id, 1)
        folder.mkdir()
        (folder / "config.yaml").write_text("x: 0.5\n")
        assert folder.is_relative_to(tmp_path)

    monkeypatch.setattr(exporting, "export_trial", export)  # which would train and measure
    bundle = client.post(f"{here}/bundle")
    assert bundle.headers["content-type"] == "application/zip"
    name = _file_name(bundle)
    assert name.endswith(".zip")
    assert "/" not in name
    with zipfile.ZipFile(io.BytesIO(bundle.content)) as archive:
        assert archive.read(f"{name[:-4]}/config.yaml") == b"x: 0.5\n"

    def fail(*_: object) -> None:
        raise BadInputError("the weights lie elsewhere")

    monkeypatch.setattr(exporting, "export_trial", fail)
    assert "the weights lie elsewhere" in client.post(f"{here}/bundle").text
    assert not list(tmp_path.glob("tuner-export-*"))  # nothing is left of either

    report = client.get(f"{here}/report")
    assert report.status_code == 200, report.text
    assert _file_name(report) == f"{name[:-4]}.html"
    assert "a/b &lt;i&gt;" in report.text
    assert "<i>" not in report.text
    assert client.get("/studies/99/export/report").status_code == 404


def _file_name(answer: Any) -> str:
    match = re.fullmatch(
        r"attachment; filename\*=utf-8''(.+)", answer.headers["content-disposition"], re.IGNORECASE
    )
    assert match is not None
    return unquote(match[1])
