"""Optuna's own conformance suite for storages, all of it, on tuner's."""

from collections.abc import Iterator

import optuna
import pytest
from optuna.testing.pytest_storages import StorageTestCase
from sqlalchemy.engine import URL

import tuner
from tuner import settings
from tuner.database.engine import Database
from tuner.search.storage import Storage


class TestStorage(StorageTestCase):
    @pytest.fixture
    def storage(self, database: Database) -> Iterator[Storage]:
        yield Storage(database)


def test_a_notebook_needs_one_line(database_url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_DATABASE_URL", database_url.render_as_string(hide_password=False))
    settings.settings.cache_clear()
    study = optuna.create_study(storage=tuner.storage(), study_name="notebook")
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=5)
    again = optuna.load_study(storage=tuner.storage(), study_name="notebook")
    assert again.best_value == study.best_value
    assert [t.number for t in again.trials] == list(range(5))
    settings.settings.cache_clear()
