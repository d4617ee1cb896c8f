"""Long studies, written with SQL: through Optuna's API, 5,000 trials take a minute and a half."""

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from benchmarks.trial import NAMES, SPACE
from tuner.database import spaces, studies
from tuner.database.engine import Database
from tuner.search.distributions import as_json, distribution
from tuner.study_file.parameters import CategoricalParameter, FloatParameter, IntParameter

_TUNER = (
    """
    INSERT INTO tuner.trials (study_id, number, state, space_id, params, objective_values, attempt,
                              started_at, finished_at)
    SELECT :study, n, 'complete', :space,
           ARRAY[random(), random(), random(), random(), random()], ARRAY[random()], 1,
           clock_timestamp(), clock_timestamp()
    FROM generate_series(0, :size - 1) AS n
    """,
    """
    INSERT INTO tuner.reports (trial_id, step, value)
    SELECT id, step, random() FROM tuner.trials, generate_series(1, 5) AS step
    WHERE study_id = :study
    """,
    "UPDATE tuner.studies SET issued = :size, next_number = :size WHERE id = :study",
)
# Parameters on which the value depends, as in a study of a small network: what a dashboard shows
SHOWN: dict[str, FloatParameter | IntParameter | CategoricalParameter] = {
    "learning_rate": FloatParameter(low=1e-5, high=0.1, log=True),
    "weight_decay": FloatParameter(low=1e-6, high=0.01, log=True),
    "dropout": FloatParameter(low=0.0, high=0.6),
    "layers": IntParameter(low=1, high=4),
    "batch_size": CategoricalParameter(choices=(32, 64, 128, 256)),
    "optimizer": CategoricalParameter(choices=("adam", "adamw", "sgd")),
}
_SHOWN = (
    "SELECT setseed(0.5)",
    """
    INSERT INTO tuner.trials (study_id, number, state, space_id, params, objective_values, attempt,
                              cause, created_at, started_at, finished_at)
    SELECT :study, n,
           CASE WHEN u < 0.60 THEN 'complete' WHEN u < 0.95 THEN 'pruned' ELSE 'failed' END, :space,
           ARRAY[power(10, rate), power(10, -6 + 4 * random()), dropout, 1 + floor(random() * 4),
                 floor(random() * 4), optimizer],
           CASE WHEN u < 0.95 THEN ARRAY[0.97 - 0.045 * power(abs(rate + 2.8), 1.8)
               - 0.2 * power(dropout - 0.2, 2) - 0.015 * optimizer + 0.004 * random()] END,
           1, CASE WHEN u >= 0.95 THEN 'diverged' END, at, at, at + interval '40 s' * random()
    FROM (
        SELECT n, random() AS u, -5 + 4 * random() AS rate, 0.6 * random() AS dropout,
               floor(random() * 3) AS optimizer,
               clock_timestamp() - interval '5 s' * (:size - n) AS at
        FROM generate_series(0, :size - 1) AS n
    ) drawn
    """,
    """
    INSERT INTO tuner.reports (trial_id, step, value)
    SELECT id, step, best - (best - 0.1) * exp(-0.3 * step) + 0.004 * random()
    FROM (SELECT id, coalesce(objective_values[1], 0.3) AS best FROM tuner.trials
          WHERE study_id = :study) t, generate_series(1, :reports) AS step
    """,
    "UPDATE tuner.studies SET issued = :size, next_number = :size WHERE id = :study",
)
_OPTUNA = (
    """
    INSERT INTO trials (number, study_id, state, datetime_start, datetime_complete)
    SELECT n, :study, 'COMPLETE', now(), now() FROM generate_series(1, :size - 1) AS n
    """,
    """
    INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)
    SELECT t.trial_id, p.param_name, random(), p.distribution_json
    FROM trials t, trial_params p JOIN trials first ON first.trial_id = p.trial_id
    WHERE t.study_id = :study AND t.number > 0 AND first.study_id = :study AND first.number = 0
    """,
    """
    INSERT INTO trial_values (trial_id, objective, value, value_type)
    SELECT trial_id, 0, random(), 'FINITE' FROM trials WHERE study_id = :study AND number > 0
    """,
    """
    INSERT INTO trial_intermediate_values
        (trial_id, step, intermediate_value, intermediate_value_type)
    SELECT trial_id, step, random(), 'FINITE' FROM trials, generate_series(1, :reports) AS step
    WHERE study_id = :study AND number > 0
    """,
)


def tuner_study(url: str, name: str, size: int) -> None:
    """A study of tuner's with `size` complete trials."""
    database = Database(make_url(url))
    distributions = {n: distribution(SPACE.parameters[n]) for n in NAMES}  # type: ignore[arg-type]
    with database.transaction() as connection:
        study = studies.create(connection, name, ["minimize"], spec={"resources": {}})
        space = spaces.ensure(connection, study, as_json(distributions))
        for statement in _TUNER if size else ():
            connection.execute(text(statement), {"study": study, "space": space, "size": size})
    _analyze(database.url.render_as_string(False))
    database.close()


def shown_study(url: str, name: str, size: int, reports: int = 20) -> int:
    """A study of tuner's that looks real, with trials in all final states; returns its id."""
    database = Database(make_url(url))
    distributions = {name: distribution(parameter) for name, parameter in SHOWN.items()}
    arguments = {"size": size, "reports": reports}
    with database.transaction() as connection:
        study = studies.create(connection, name, ["maximize"], metrics=["accuracy"])
        arguments |= {
            "study": study,
            "space": spaces.ensure(connection, study, as_json(distributions)),
        }
        for statement in _SHOWN if size else ():
            connection.execute(text(statement), arguments)
    _analyze(database.url.render_as_string(False))
    database.close()
    return study


def optuna_study(url: str, name: str, size: int, reports: int = 5) -> None:
    """A study of Optuna's with `size` complete trials, all like the first."""
    storage = RDBStorage(url)
    study = optuna.create_study(storage=storage, study_name=name)
    trial = study.ask()
    for parameter in NAMES:
        trial.suggest_float(parameter, 0.0, 1.0)
    for step in range(1, reports + 1):
        trial.report(0.5, step)
    study.tell(trial, 0.5)
    with storage.engine.begin() as connection:
        for statement in _OPTUNA:
            connection.execute(
                text(statement), {"study": study._study_id, "size": size, "reports": reports}
            )
            connection.execute(text("ANALYZE"))  # else the next one is planned for a small table
    _analyze(url)


def _analyze(url: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()
