"""Optuna's own conformance suite for storages, all of it, on tuner's."""

from collections.abc import Iterator

import pytest
from optuna.testing.pytest_storages import StorageTestCase

from tuner.database.engine import Database
from tuner.search.storage import Storage


class TestStorage(StorageTestCase):
    @pytest.fixture
    def storage(self, database: Database) -> Iterator[Storage]:
        yield Storage(database)
