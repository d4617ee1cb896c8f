"""Our word for an objective's direction ↔ Optuna's."""

from optuna.study import StudyDirection

from tuner.trials import Direction


def our_direction(direction: StudyDirection) -> Direction:
    """Whether an objective is to be minimized or maximized."""
    return "maximize" if direction is StudyDirection.MAXIMIZE else "minimize"


def optuna_direction(direction: Direction) -> StudyDirection:
    """Whether an objective is to be minimized or maximized."""
    return StudyDirection.MAXIMIZE if direction == "maximize" else StudyDirection.MINIMIZE
