"""The trial that all contestants run: 5 parameters and 5 reports that ask whether to prune."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from tuner.database import hints, studies
from tuner.database.engine import Database
from tuner.search.claim import ClaimedTrial, Search
from tuner.search.storage import Storage
from tuner.study_file.parameters import FloatParameter
from tuner.study_file.space import Space
from tuner.study_file.study import Budget, Pruner, Sampler
from tuner.trials import Report, TrialState
from tuner.worker.outbox import Outbox

NAMES = tuple(f"x{i}" for i in range(5))
REPORTS = range(1, 6)
LEASE = 60.0  # seconds
SPACE = Space(parameters={name: FloatParameter(low=0.0, high=1.0) for name in NAMES})


def lost() -> None:
    """What no worker of a benchmark may hear."""
    raise AssertionError("a lease was lost")


@dataclass
class Runner:
    """A worker of one contestant."""

    claim: Callable[[], Any]
    end: Callable[[Any], None]  # reports and the result of what `claim` gave
    close: Callable[[], None]
    engine: Engine | None = None
    search: Any = None  # tuner's
    outbox: Any = None  # tuner's

    def trial(self) -> None:
        """One trial from its claim to its result."""
        self.end(self.claim())


def tuner_runner(url: str, name: str, sampler: str = "random") -> Runner:
    """What tuner's worker does, without executors."""
    database = hints.ListeningDatabase(Database(make_url(url)), hints.WORK, listen=False)
    with database.statement() as connection:
        study = studies.by_name(connection, name)
    spec: Any = SimpleNamespace(
        space=SPACE,
        sampler=Sampler.model_validate({"name": sampler}),
        seed=1,
        pruner=Pruner.model_validate({"name": "median"}),
        budget=Budget(),
    )
    search, worker = Search(database, study, spec), uuid.uuid4()
    outbox = Outbox(database, keep=LEASE)

    def claim() -> ClaimedTrial:
        trial = search.claim(worker, LEASE)
        assert trial is not None
        return trial

    def end(trial: ClaimedTrial) -> None:
        value = sum(float(str(v)) for v in trial.params.values())
        write = partial(search.report, trial=trial, lease=LEASE)
        for step in REPORTS:
            report = Report(step, value * step)
            search.should_prune(trial, report)
            outbox.report(trial.claim.id, report, write, lost)
        finish = partial(search.finish, trial=trial, state=TrialState.COMPLETE, values=[value])
        outbox.end(trial.claim.id, finish, lost)

    return Runner(claim, end, database.close, database.engine, search, outbox)


def optuna_runner(storage: BaseStorage, name: str) -> Runner:
    """What Optuna's ask-and-tell does on any storage."""
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        sampler=optuna.samplers.RandomSampler(),
        pruner=optuna.pruners.MedianPruner(),
        load_if_exists=True,
    )

    def claim() -> optuna.Trial:
        trial = study.ask()
        for parameter in NAMES:
            trial.suggest_float(parameter, 0.0, 1.0)
        return trial

    def end(trial: optuna.Trial) -> None:
        value = sum(trial.params.values())
        for step in REPORTS:
            trial.report(value * step, step)
            trial.should_prune()
        study.tell(trial, value)

    def close() -> None:
        if engine is not None:
            engine.dispose()

    inner = getattr(study._storage, "_backend", study._storage)
    engine = inner.engine if isinstance(inner, RDBStorage) else None
    if isinstance(inner, Storage):
        engine = inner._database.engine
    return Runner(claim, end, close, engine)
