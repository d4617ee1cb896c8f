"""Figures, table, CSV and the stream of a study, asked as a page asks."""

import asyncio
import csv
import io
import json
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from benchmarks import fill
from tests.support.figures import finished_trial
from tests.support.waiting import STUCK, eventually
from tuner.dashboard.api import figures as api
from tuner.dashboard.api.models.figures import FigureRecord, TrialTableRecord
from tuner.dashboard.app import create_app
from tuner.dashboard.board import Board
from tuner.dashboard.plots import selection
from tuner.dashboard.plots.selection import Filter, Where
from tuner.database.engine import Database
from tuner.database.readers.live import STATES
from tuner.figures import captions, edf, registry, theme
from tuner.figures.figure import Figure, Sample
from tuner.figures.registry import FIGURES
from tuner.search.importances import importances
from tuner.settings import Settings
from tuner.trials import Trial, TrialState

SIZE = 600


@pytest.fixture
def study(database: Database) -> int:
    url = database.url.render_as_string(hide_password=False)
    return fill.shown_study(url, "s", SIZE, reports=5)


@pytest.fixture
def board(database: Database, tmp_path: Path) -> Board:
    return Board(database, Settings(home=tmp_path / "home"))


@pytest.fixture
def client(board: Board) -> Iterator[TestClient]:
    headers = board.access.secret.header
    yield TestClient(create_app(board), base_url="http://localhost", headers=headers)


def test_every_figure_is_drawn_and_told_apart_by_version_and_filter(
    client: TestClient, study: int
) -> None:
    for name in FIGURES:
        answer = client.get(f"/api/v1/studies/{study}/figures/{name}")
        assert answer.status_code == 200, answer.text
        payload = answer.json()
        FigureRecord.model_validate(payload)  # as the OpenAPI document describes it
        if name in ("pareto", "hypervolume"):
            assert "one objective" in payload["caption"]
            continue
        assert "figure" in payload, f"{name}: {payload['caption']} If it reads reports: by_reports"
        assert payload["figure"]["data"], name
        assert payload["table"]["rows"], name
        assert len(answer.content) < 400_000
        again = client.get(
            f"/api/v1/studies/{study}/figures/{name}",
            headers={"if-none-match": answer.headers["etag"]},
        )
        assert again.status_code == 304
    assert client.get(f"/api/v1/studies/{study}/figures/none").status_code == 404
    assert client.get("/api/v1/studies/999/figures/history").status_code == 404


@pytest.mark.parametrize("by_reports", [True, False])
def test_a_registered_figure_has_reports_if_it_reads_them(
    client: TestClient, study: int, monkeypatch: pytest.MonkeyPatch, by_reports: bool
) -> None:
    seen: list[Trial] = []

    def info(sample: Sample) -> edf.Info:
        seen.extend(sample.trials)
        return edf.info({}, sample.study)

    toy = Figure("toy", "Toy", edf, info, captions.of_edf, by_reports=by_reports)
    figures = MappingProxyType({**FIGURES, "toy": toy})
    monkeypatch.setattr(registry, "FIGURES", figures)
    monkeypatch.setattr(api, "FIGURES", figures)
    assert client.get(f"/api/v1/studies/{study}/figures/toy").status_code == 200
    assert seen
    assert any(trial.reports for trial in seen) is by_reports


def test_a_filter_is_exact_and_the_same_for_figure_table_and_csv(
    client: TestClient, board: Board, study: int
) -> None:
    query: dict[str, Any] = {
        "state": ["complete", "pruned"],
        "where": ['["value", [0.9, null]]', '["params.optimizer", "adam", "sgd"]'],
    }
    with board.live_studies.locked(study) as (_, live_study):
        live = live_study.trials
        optimizer = live.params["optimizer"]
        codes = [i for i, c in enumerate(optimizer.choices) if c in ("adam", "sgd")]
        expected = np.flatnonzero(
            np.isin(live.state, [STATES.index(TrialState(s)) for s in query["state"]])
            & (live.values[:, 0] >= 0.9)
            & np.isin(live.column("optimizer"), codes)
        ).tolist()
    assert 20 < len(expected) < 0.7 * SIZE
    at = f"/api/v1/studies/{study}"
    table = client.get(f"{at}/table", params={**query, "limit": 200}).json()
    assert table["total"] == len(expected)
    assert [row[0] for row in table["rows"]] == expected[:200]
    text = client.get(f"{at}/trials.csv", params=query).text.removeprefix("\ufeff")
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [int(line["trial"]) for line in lines] == expected
    assert {line["optimizer"] for line in lines} == {"adam", "sgd"}
    payload = client.get(f"{at}/figures/rank", params=query).json()
    assert "figure" in payload
    bad = client.get(f"{at}/table", params={"where": '["nothing", [1, 2]]'})
    assert (bad.status_code, "nothing" in bad.text) == (422, True)


def test_the_table_is_sorted_with_what_is_missing_last(client: TestClient, study: int) -> None:
    at = f"/api/v1/studies/{study}/table"
    for descending in (False, True):
        params = {"sort": "value", "descending": descending, "limit": 200, "offset": SIZE - 200}
        rows = client.get(at, params=params).json()["rows"]
        values = [row[2] for row in rows]
        finite = [v for v in values if v is not None]
        assert values == [*sorted(finite, reverse=descending), *[None] * (200 - len(finite))]
        assert 0 < len(finite) < 200
    table = TrialTableRecord.model_validate(client.get(at).json())
    names = [column.name for column in table.columns]
    sizes = names.index("params.batch_size")
    rows = client.get(at, params={"sort": "params.batch_size"}).json()["rows"]
    assert {row[sizes] for row in rows} == {32}  # not sorted as words


def test_what_matters_survives_thinning(board: Board, study: int) -> None:
    with board.live_studies.locked(study) as (_, live_study):
        live = live_study.trials
        everything = selection.apply(live, Filter())
        picked = set(selection.thin_out(live, everything, 60))
        complete = np.flatnonzero(live.complete)
        values = live.values[complete, 0]
        records = set(complete[selection.records(values, maximize=True)].tolist())
        assert len(picked) <= 60
        assert records | {int(complete[values.argmin()])} <= picked
        best = selection.rank(live, live.complete)[:25].tolist()
        top = selection.apply(live, Filter(top=25))
        assert sorted(best) == np.flatnonzero(top).tolist()
        none = selection.apply(live, Filter(where=(Where("number", ((math.inf, math.inf),)),)))
        assert not none.any()


def test_a_commit_is_told_to_open_pages(board: Board, database: Database, study: int) -> None:
    with board.live_studies.locked(study):
        pass
    events: list[str] = []
    ready = threading.Event()

    async def read() -> None:
        async for event in board.stream.events(lambda: True):
            events.append(event)
            ready.set()

    reader = threading.Thread(target=asyncio.run, args=(read(),))
    reader.start()
    board.stream.start()
    try:
        assert ready.wait(STUCK)
        hello = json.loads(events[0].split("data: ")[1])
        assert hello["versions"][str(study)]
        claimed = finished_trial(database, study)
        eventually(lambda: any(f"[{claimed}," in e and '"complete"' in e for e in events))
        trial_events = [
            json.loads(e.split("data: ")[1]) for e in events if e.startswith("event: trials")
        ]
        last = trial_events[-1]
        assert last["trials"][-1] == [claimed, "complete", 0.75]
        with board.live_studies.locked(study) as (_, live_study):
            assert last["counts"] == {s.value: n for s, n in live_study.trials.counts.items()}
        assert last["version"] != hello["versions"][str(study)]
        assert max(len(e) for e in events) < 1_000
    finally:
        board.stream.close()
        reader.join(STUCK)
    assert not reader.is_alive()


def test_a_parameter_without_effect_explains_no_more_than_luck(
    database: Database, board: Board, study: int
) -> None:
    with board.live_studies.locked(study) as (record, _):
        pass
    effects = importances(database, record)
    assert effects is not None
    assert next(iter(effects)) == "learning_rate"
    assert effects["learning_rate"].value > 2 * effects["learning_rate"].baseline
    assert not effects["weight_decay"].is_clear
    assert importances(database, record) == effects  # the same trials are looked at


def test_what_trials_note_of_themselves_is_marked_and_compared(
    client: TestClient, database: Database, study: int
) -> None:
    with database.transaction() as connection:
        connection.execute(
            text("""
                UPDATE tuner.trials SET
                    system_attrs = CASE WHEN number % 3 = 0 OR objective_values[1] > 0.95 THEN
                        jsonb_build_object('constraints:size', '1.0') ELSE '{}' END,
                    user_attrs = jsonb_build_object(
                        'device', CASE WHEN number % 2 = 0 THEN '"cuda:0"' ELSE '"cuda:1"' END,
                        'latency', CAST(1 + (number * 7) % 50 AS text),
                        'parameters', '"many"')
                WHERE study_id = :study AND state IN ('complete', 'pruned', 'failed')
            """),
            {"study": study},
        )
    here = f"/api/v1/studies/{study}"
    for name in ("history", "slices"):
        payload = client.get(f"{here}/figures/{name}").json()
        assert "Hollow grey marks violate a constraint." in payload["caption"]
        grey = [t for t in payload["figure"]["data"] if t["name"] == theme.INFEASIBLE]
        assert grey
        assert {t["marker"]["color"] for t in grey} == {theme.LIGHT.waiting}
    lanes = {row[0] for row in client.get(f"{here}/figures/timeline").json()["table"]["rows"]}
    assert any(lane.endswith(" cuda:0") for lane in lanes)
    assert any(lane.endswith(" cuda:1") for lane in lanes)

    answer = client.get("/api/v1/compare", params={"studies": [study, study]})
    assert answer.status_code == 200, answer.text
    [compared] = answer.json()["studies"]
    assert set(compared["paid"]) == {"training_seconds", "latency"}  # "many" is no number
    with database.statement() as connection:
        rows = connection.execute(
            text("""
                SELECT number, objective_values[1], 1 + (number * 7) % 50 FROM tuner.trials
                WHERE study_id = :study AND state = 'complete' AND system_attrs = '{}'
                ORDER BY 3, 2 DESC
            """),
            {"study": study},
        ).all()
    expected, best = [], -math.inf
    for number, value, latency in rows:
        if value > best:
            best = value
            expected.append({"trial": number, "cost": latency, "best": value})
    assert compared["paid"]["latency"] == expected
    assert compared["best"] == best
    leading = client.get(f"{here}/table", params={"top": 9, "sort": "value", "descending": True})
    assert leading.json()["rows"][0][0] == compared["best_trial"]
    assert len(leading.json()["rows"]) == 9
    assert "★" in client.get(f"/studies/{study}/trials/{compared['best_trial']}").text
    violating = client.get(f"/studies/{study}/trials/{_violating(database, study)}").text
    assert "★" not in violating
    assert "It violates a constraint" in violating
    for fragment in ("<dt>latency</dt><dd>", " ms</dd>", "<dt>parameters</dt><dd>many</dd>"):
        assert fragment in violating
    page = client.get("/compare", params={"studies": study}).text
    assert "Best by latency" in page
    assert "Best by size" not in page


def _violating(database: Database, study: int) -> int:
    """The trial with the best value of all."""
    with database.statement() as connection:
        return int(
            connection.execute(
                text("""
                    SELECT number FROM tuner.trials WHERE study_id = :study AND state = 'complete'
                    ORDER BY objective_values[1] DESC LIMIT 1
                """),
                {"study": study},
            ).scalar_one()
        )
