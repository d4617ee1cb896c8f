"""Results of simulated studies, one JSON line each, so that a measurement can go on later.

A result counts as long as the code it came from is the same: of tuner's searches that is tuner's
search, of the peers their versions and driver, of all of them the simulation and the table.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.search import environment, tables
from benchmarks.search.methods import METHODS
from benchmarks.search.simulation import Run
from benchmarks.search.study import Study

ROOT = environment.ROOT
SEARCH = ("tuner/search", "tuner/study_file")


@cache
def version(method: str, table: str) -> str:
    """Return a digest of the code, versions and data that results follow from."""
    return hashlib.sha256(f"{_code(method)} {_data(table)}".encode()).hexdigest()[:12]


@cache
def _data(table: str) -> str:
    task = tables.load(table)
    digest = hashlib.sha256(
        repr((task.parameters, sorted(task.choices), task.when, task.noise)).encode()
    )
    for array in (task.losses, task.seconds, task.second):
        digest.update(b"" if array is None else array.tobytes())
    return digest.hexdigest()


@cache
def _code(method: str) -> str:
    here = Path(__file__).parent
    spec = METHODS[method]
    module = spec.driver.partition(":")[0]
    files = [here / "simulation.py", here / "drivers" / f"{module}.py"]
    digest = hashlib.sha256(repr(spec).encode())
    if spec.environment == "tuner":
        files += [path for folder in SEARCH for path in sorted((ROOT / folder).rglob("*.py"))]
    else:
        digest.update(repr((environment.TORCH, environment.PEERS)).encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


class Store:
    """A file of results, to which lines are only ever added."""

    def __init__(self, path: Path, *, any_version: bool = False) -> None:
        """`any_version` takes the newest result of a study, whatever code it came from."""
        self._path = path
        self._any_version = any_version
        self._runs: dict[Study, Run] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            for line in path.read_text().splitlines():
                self._take(json.loads(line))

    def missing(self, studies: Iterable[Study]) -> list[Study]:
        return [study for study in studies if study not in self._runs]

    def select(self, studies: Iterable[Study]) -> dict[Study, Run]:
        return {study: self._runs[study] for study in studies if study in self._runs}

    def add(self, result: dict[str, Any]) -> None:
        line = result | {"version": version(result["method"], result["table"])}
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self._take(line)

    def _take(self, line: dict[str, Any]) -> None:
        if line["method"] not in METHODS or line["table"] not in tables.names():
            return
        if self._any_version or line["version"] == version(line["method"], line["table"]):
            self._runs[Study(**_fields(Study, line))] = Run(**_fields(Run, line))


def _fields(cls: Any, line: dict[str, Any]) -> dict[str, Any]:
    return {field.name: line[field.name] for field in dataclasses.fields(cls)}
