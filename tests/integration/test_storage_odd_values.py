"""What Optuna's conformance suite leaves out: odd values come back as they were."""

import json
import math
import re
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from optuna.distributions import CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState as OptunaState
from sqlalchemy.engine import URL

from tests.support import optuna_studies as theirs
from tests.support.optuna_studies import facts, make, trial
from tuner.database.engine import Database
from tuner.search.storage import Storage

MINIMIZE, MAXIMIZE = StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE
# without -0.0: PostgreSQL reads it in a statement as the number 0
FLOATS = (0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, math.inf, -math.inf)


@pytest.fixture
def storage(database: Database) -> Storage:
    return Storage(database)


@pytest.fixture
def elsewhere(database_url: URL) -> Any:
    """Another process's view: nothing that the first storage remembers."""
    database = Database(database_url)
    yield Storage(database)
    database.close()


@pytest.mark.parametrize("value", FLOATS)
def test_values_come_back_bit_by_bit(storage: Storage, elsewhere: Storage, value: float) -> None:
    study_id = make(storage, "values")
    trial_id = storage.create_new_trial(study_id)
    for step, reported in enumerate((value, math.nan)):
        storage.set_trial_intermediate_value(trial_id, step, reported)
    storage.set_trial_state_values(trial_id, OptunaState.COMPLETE, [value])
    (loaded,) = elsewhere.get_all_trials(study_id)
    assert repr(loaded.values) == repr([value])
    assert repr(loaded.intermediate_values) == repr({0: value, 1: math.nan})


@pytest.mark.parametrize("worst", [math.inf, -math.inf])
def test_the_best_of_infinite_values(storage: Storage, worst: float) -> None:
    direction = MINIMIZE if worst > 0 else MAXIMIZE
    values = ([worst], [1.0], [worst])
    study_id = make(storage, "best", *(trial(values=v) for v in values), directions=[direction])
    assert storage.get_best_trial(study_id).number == 1


ATTRIBUTES = [
    "x" * 10_000,
    "\0\t\n\r\\\"'%:{}" * 1_000,
    "ж😀\u2028\ufeff",
    "\ud800",
    math.nan,
    [math.inf, -math.inf, -0.0],
    2**200,
    {"a": [{"b": {"c": [[], {}, None, True, 1, 1.0, "1"]}}]},
    {"": {"\0": "\0"}},
    None,
]


@pytest.mark.parametrize("value", ATTRIBUTES, ids=range(len(ATTRIBUTES)))
def test_attributes_come_back_as_json_has_them(
    storage: Storage, elsewhere: Storage, value: Any
) -> None:
    study_id = make(storage, "attributes")
    trial_id = storage.create_new_trial(study_id)
    for key in ("a", "", "ж😀", "%(x)s :y {z} \\u0000", "k" * 1_000):
        storage.set_study_user_attr(study_id, key, value)
        storage.set_study_system_attr(study_id, key, value)
        storage.set_trial_user_attr(trial_id, key, value)
        storage.set_trial_system_attr(trial_id, key, value)
    loaded = elsewhere.get_trial(trial_id)
    for attrs in (
        elsewhere.get_study_user_attrs(study_id),
        elsewhere.get_study_system_attrs(study_id),
        loaded.user_attrs,
        loaded.system_attrs,
    ):
        assert len(attrs) == 5
        assert {json.dumps(v) for v in attrs.values()} == {json.dumps(value)}


def test_a_hundred_objectives(storage: Storage, elsewhere: Storage) -> None:
    study_id = storage.create_new_study([MINIMIZE, MAXIMIZE] * 50, "many")
    values = [math.inf, -math.inf, *map(float, range(98))]
    storage.create_new_trial(study_id, trial(values=values))
    assert elsewhere.get_study_directions(study_id) == [MINIMIZE, MAXIMIZE] * 50
    assert elsewhere.get_all_trials(study_id)[0].values == values
    assert len(optuna.load_study(study_name="many", storage=elsewhere).best_trials) == 1


def test_choices_of_every_type(storage: Storage, elsewhere: Storage) -> None:
    choices = (None, True, 1, 1.0, "1", -0.0, float("nan"), "ж😀", "", "\0")
    distribution = CategoricalDistribution(choices)
    study_id = make(storage, "choices")
    for index in range(len(choices)):
        trial_id = storage.create_new_trial(study_id)
        storage.set_trial_param(trial_id, "ж %(x)s :y", index, distribution)
    loaded = elsewhere.get_all_trials(study_id)
    assert repr([t.params["ж %(x)s :y"] for t in loaded]) == repr(list(choices))
    assert all(t.distributions == {"ж %(x)s :y": distribution} for t in loaded)


@pytest.mark.parametrize("name", ["", " ", "ж😀", "a" * 600, "%(x)s :y {z}", "'; --", "a\nb"])
def test_names_of_studies(storage: Storage, elsewhere: Storage, name: str) -> None:
    study_id = make(storage, name)
    assert elsewhere.get_study_id_from_name(name) == study_id
    assert elsewhere.get_study_name_from_id(study_id) == name


@pytest.mark.parametrize("odd", ["a\0b", "\ud800"])
def test_names_that_postgresql_has_no_text_for(storage: Storage, odd: str) -> None:
    """Refused at once, and nothing of them is kept."""
    study_id = make(storage, "names")
    trial_id = storage.create_new_trial(study_id)
    attempts: list[Callable[[], object]] = [
        lambda: storage.create_new_study([MINIMIZE], odd),
        lambda: storage.set_study_user_attr(study_id, odd, 1),
        lambda: storage.set_trial_user_attr(trial_id, odd, 1),
    ]
    for attempt in attempts:
        with pytest.raises(ValueError, match="neither NUL nor half of a surrogate pair"):
            attempt()
    assert [s.study_name for s in storage.get_all_studies()] == ["names"]
    assert storage.get_trial(trial_id).user_attrs == {}


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(theirs.studies())
def test_any_study(storage: Storage, elsewhere: Storage, study: Any) -> None:
    directions, _, trials = study
    name = f"any {len(storage.get_all_studies())}"
    study_id = make(storage, name, *trials, directions=directions)
    loaded = [facts(t) for t in elsewhere.get_all_trials(study_id)]
    expected = [facts(t) | {"number": number} for number, t in enumerate(trials)]
    assert list(map(unsigned, loaded)) == list(map(unsigned, expected))


def unsigned(of: dict[str, Any]) -> dict[str, Any]:
    """Without the sign of zero, in what is stored as numbers."""
    return of | {
        key: re.sub(r"-0\.0(?![\de])", "0.0", of[key]) for key in ("values", "reports", "params")
    }


def test_steps_are_stored_as_their_decimals(storage: Storage, elsewhere: Storage) -> None:
    study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial({"a": 3 * 0.1})
    study.optimize(lambda trial: trial.suggest_float("a", 0.0, 0.7, step=0.1), n_trials=20)
    stepped = {"a": optuna.distributions.FloatDistribution(0.0, 0.7, step=0.1)}
    study.add_trial(optuna.create_trial(params={"a": 0.6}, distributions=stepped, value=1.0))
    stored = [t.params["a"] for t in elsewhere.get_all_trials(study._study_id)]
    assert stored[0] == 0.3
    assert stored[-1] == 0.6
    assert set(stored) <= {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7}


def test_what_a_crash_of_the_server_has_forgotten_is_there_at_the_end(
    storage: Storage, elsewhere: Storage, database: Database
) -> None:
    """Parameters and reports are acknowledged before they are on the server's disk."""
    study = optuna.create_study(storage=storage)
    earlier = study.ask()  # so that the next one sets its parameters without a transaction
    for name in ("x", "y"):
        earlier.suggest_float(name, 0, 1)
    mine = study.ask()
    expected = {"x": mine.suggest_float("x", 0, 1)}
    with database.statement() as connection:
        query = "SELECT space_id, params FROM tuner.trials WHERE number = 1"
        before = connection.exec_driver_sql(query).one()
    expected["y"] = mine.suggest_float("y", 0, 1)
    for step in (1, 2, 3):
        mine.report(step / 10, step)
    with database.statement() as connection:
        connection.exec_driver_sql(
            "UPDATE tuner.trials SET space_id = %s, params = %s WHERE number = 1", tuple(before)
        )
        connection.exec_driver_sql("DELETE FROM tuner.reports WHERE step > 1")
    study.tell(mine, 0.5)
    loaded = optuna.load_study(study_name=study.study_name, storage=elsewhere).trials[1]
    assert (loaded.state, loaded.value, loaded.params) == (OptunaState.COMPLETE, 0.5, expected)
    assert loaded.intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3}
