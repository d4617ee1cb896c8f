"""The worked example of CONTRIBUTING.md that needs a database: a tab of a study's page."""

from pathlib import Path

from tests.support.worked_examples import copy, follow, passed

PAGE = """
from fastapi.testclient import TestClient

from tests.integration.test_dashboard_api import client as client
from tests.support.bench import Bench
from tuner.database.engine import Database


def test_the_tab_lists_the_best_configurations(client: TestClient, database: Database) -> None:
    bench = Bench(database)
    address = f"/studies/{bench.id}/leading"
    assert "No trial is complete yet." in client.get(address).text
    bench.finish(bench.claim(x=0.625))
    page = client.get(address).text
    assert ">Trial 0</a>" in page
    assert "0.625" in page
"""


def test_a_tab_is_its_variables_and_its_template_beside_the_docs(tmp_path: Path) -> None:
    tree = copy(tmp_path)
    assert follow("Add a tab", tree) == [
        "tuner/dashboard/pages/study/leading.py",
        "tuner/dashboard/templates/study/leading.html",
        "tuner/dashboard/pages/study/page.py",
    ]
    (tree / "tests" / "integration" / "test_leading.py").write_text(PAGE)
    assert passed(tree, "tests/integration/test_leading.py") == 1
