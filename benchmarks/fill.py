"""Long studies, written with SQL: through Optuna's API 5,000 trials take a minute and a half."""

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from benchmarks.trial import NAMES, SPACE
from tuner.database import spaces, studies
from tuner.database.engine import Database
from tuner.search.distributions import as_json, distribution

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
    SELECT trial_id, step, random(), 'FINITE' FROM trials, generate_series(1, 5) AS step
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


def optuna_study(url: str, name: str, size: int) -> None:
    """A study of Optuna's with `size` complete trials, all like the first."""
    storage = RDBStorage(url)
    study = optuna.create_study(storage=storage, study_name=name)
    trial = study.ask()
    for parameter in NAMES:
        trial.suggest_float(parameter, 0.0, 1.0)
    for step in range(1, 6):
        trial.report(0.5, step)
    study.tell(trial, 0.5)
    with storage.engine.begin() as connection:
        for statement in _OPTUNA:
            connection.execute(text(statement), {"study": study._study_id, "size": size})
    _analyze(url)


def _analyze(url: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()
