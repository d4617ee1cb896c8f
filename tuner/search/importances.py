"""How much each parameter explains of the differences between trials (PED-ANOVA)."""

import optuna

from tuner.database.engine import Database
from tuner.search.draft import DraftStorage, study
from tuner.search.history import History
from tuner.trials import Study

MIN_TRIALS = 10  # complete ones; with fewer any ranking is noise


def importances(database: Database, of: Study) -> dict[str, float] | None:
    """Parameter → share of what all parameters explain, the largest first.

    PED-ANOVA (Watanabe, Bansal & Hutter, IJCAI 2023) over complete trials; None while there are
    fewer than `MIN_TRIALS` or where nothing can be said (all values equal).
    """
    history = History(of.id)
    with database.statement() as connection:
        history.refresh(connection)
    complete = [t for t in history.trials if t.state is optuna.trial.TrialState.COMPLETE]
    if len(complete) < MIN_TRIALS:
        return None
    view = study(DraftStorage(history, of.directions), optuna.samplers.RandomSampler())
    return _evaluate(view)


def _evaluate(view: optuna.Study) -> dict[str, float] | None:
    try:
        # of several objectives the first, as for everything that can speak of one alone
        first = None if len(view.directions) == 1 else _first_value
        found = optuna.importance.get_param_importances(view, target=first)
    except (RuntimeError, ValueError):
        return None
    return found or None


def _first_value(trial: optuna.trial.FrozenTrial) -> float:
    return float(trial.values[0])
