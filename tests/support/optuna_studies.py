"""Studies in Optuna's storages for tests, and what it means that two trials are the same."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

MINIMIZE, MAXIMIZE = StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE
NOON = datetime(2026, 7, 1, 12, 0, 0, 123456)  # local, as Optuna has it


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"


def trial(state: TrialState = TrialState.COMPLETE, **given: Any) -> FrozenTrial:
    """A trial to be stored; Optuna numbers it."""
    finished = state.is_finished()
    arguments = {
        "params": {},
        "distributions": {},
        "user_attrs": {},
        "system_attrs": {},
        "intermediate_values": {},
        "values": [1.5] if state is TrialState.COMPLETE else None,
        "datetime_start": None if state is TrialState.WAITING else NOON,
        "datetime_complete": NOON.replace(minute=1) if finished else None,
    }
    return FrozenTrial(trial_id=0, number=0, state=state, value=None, **{**arguments, **given})


def make(
    storage: BaseStorage, name: str, *trials: FrozenTrial, directions: Any = (MINIMIZE,)
) -> int:
    study_id = storage.create_new_study(list(directions), name)
    for one in trials:
        storage.create_new_trial(study_id, one)
    return study_id


def facts(one: FrozenTrial) -> dict[str, Any]:
    """All that a trial holds but its id, so that NaN equals NaN and True is not 1."""
    return {
        "number": one.number,
        "state": one.state,
        "values": repr(one.values),
        "params": repr(sorted(one.params.items(), key=lambda item: item[0])),
        "distributions": repr(sorted(one.distributions.items(), key=lambda item: item[0])),
        "reports": repr(sorted(one.intermediate_values.items())),
        "user_attrs": json.dumps(one.user_attrs, sort_keys=True),
        "system_attrs": json.dumps(one.system_attrs, sort_keys=True),
        "start": one.datetime_start,
        "complete": one.datetime_complete,
    }


def study_facts(storage: BaseStorage, study_id: int) -> dict[str, Any]:
    """All that a study holds but ids and its name."""
    return {
        "directions": list(storage.get_study_directions(study_id)),
        "user_attrs": json.dumps(storage.get_study_user_attrs(study_id), sort_keys=True),
        "system_attrs": json.dumps(storage.get_study_system_attrs(study_id), sort_keys=True),
        "trials": [facts(one) for one in storage.get_all_trials(study_id, deepcopy=False)],
    }


# Text that the databases on both sides hold; Optuna's names end at 512 characters.
names = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20
)
numbers = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
attributes = st.dictionaries(names, json_values, max_size=3)
choices = st.lists(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=5),
    min_size=1,
    max_size=5,
)


@st.composite
def parameters(draw: st.DrawFn) -> tuple[BaseDistribution, Any]:
    """A distribution with a value out of it."""
    kind = draw(st.sampled_from(["float", "int", "categorical"]))
    if kind == "categorical":
        found = tuple(draw(choices))
        # Optuna finds a choice by equality: of 1 and True it knows the first
        found = tuple(c for i, c in enumerate(found) if c not in found[:i])
        return CategoricalDistribution(found), draw(st.sampled_from(found))
    if kind == "int":
        low, high = sorted(draw(st.lists(st.integers(1, 2**40), min_size=2, max_size=2)))
        return IntDistribution(low, high, log=draw(st.booleans())), draw(st.integers(low, high))
    low, high = sorted(draw(st.lists(st.floats(1e-300, 1e300), min_size=2, max_size=2)))
    return FloatDistribution(low, high, log=draw(st.booleans())), draw(st.floats(low, high))


@st.composite
def trials(draw: st.DrawFn, space: dict[str, Any], objectives: int) -> FrozenTrial:
    """A trial that has some of the parameters."""
    state = draw(st.sampled_from([s for s in TrialState if s is not TrialState.RUNNING]))
    chosen = draw(st.sets(st.sampled_from(sorted(space)))) if space else set()
    infinite = st.floats(allow_nan=False)
    return trial(
        state,
        values=draw(st.lists(infinite, min_size=objectives, max_size=objectives))
        if state is TrialState.COMPLETE
        else None,
        params={name: space[name][1] for name in chosen},
        distributions={name: space[name][0] for name in chosen},
        user_attrs=draw(attributes),
        system_attrs=draw(attributes),
        intermediate_values=draw(
            st.dictionaries(st.integers(0, 2**31 - 1), st.floats(), max_size=4)
        ),
    )


@st.composite
def studies(draw: st.DrawFn) -> tuple[list[StudyDirection], dict[str, Any], list[FrozenTrial]]:
    """Directions, user attributes and trials."""
    directions = draw(st.lists(st.sampled_from([MINIMIZE, MAXIMIZE]), min_size=1, max_size=4))
    space = draw(st.dictionaries(names, parameters(), max_size=4))
    found = draw(st.lists(trials(space, len(directions)), max_size=4))
    return directions, draw(attributes), found


def opened(path: Path) -> RDBStorage:
    """An Optuna storage of its own, in an SQLite file."""
    return RDBStorage(sqlite_url(path))
