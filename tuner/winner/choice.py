"""Choose the winning trial of a study, by its value or by a confirmation."""

from collections.abc import Collection, Sequence

from tuner.trials import ParamValue, Study, Trial, best_trial, pareto_front
from tuner.winner import confirmations


def select_best(trials: Sequence[Trial], study: Study) -> Trial | None:
    """Select the best complete trial; None if there is none.

    With several objectives the first one decides, and the others between trials equal in it.
    """
    if len(study.directions) > 1:
        return next(iter(pareto_front(trials, study.directions)), None)
    return best_trial(trials, study.direction)


def select_leading(
    trials: Sequence[Trial],
    study: Study,
    top: int,
    *,
    front: bool = False,
    also: Collection[int] = (),
) -> list[Trial]:
    """Select the best `top` complete trials of different configurations, best first.

    `front`: only trials that no other beats in every objective; `also`: numbers of trials to
    include whatever their rank.
    """
    candidates = pareto_front(trials, study.directions) if front else trials
    finite = [trial for trial in candidates if trial.can_be_best]
    finite.sort(key=lambda t: t.value or 0.0, reverse=study.direction == "maximize")
    distinct: dict[frozenset[tuple[str, ParamValue]], Trial] = {}
    for trial in finite:
        distinct.setdefault(frozenset(trial.params.items()), trial)
    return [
        trial for rank, trial in enumerate(distinct.values()) if rank < top or trial.number in also
    ]


def select_winner(trials: Sequence[Trial], study: Study) -> Trial | None:
    """Select the winner among all trials of a study; None if none is complete."""
    best = select_best(trials, study)
    if best is None:
        return None
    number = winning_number(study, best)
    return next((trial for trial in trials if trial.number == number), best)


def winning_number(study: Study, best: Trial) -> int:
    """The number of the winner, where `best` is the best trial by its value.

    It is the winner of the confirmation, unless the search found a better trial afterwards.
    """
    record = confirmations.read(study)
    if record is None or best.number not in confirmations.numbers(record):
        return best.number
    return int(record["winner"])


def select_best_study(ranked: Sequence[tuple[Study, Trial | None]]) -> tuple[Study, bool]:
    """Select the study with the best winner; returns it and whether fresh seeds decided that.

    `ranked` holds the experiment's studies with their best trials, ordered by those trials' values.
    Values decide unless every winner was confirmed: a lucky value would beat a mean. A study
    without a complete trial has no winner, and does not count.
    """
    means = [(study, _confirmed_mean(study, best)) for study, best in ranked if best is not None]
    confirmed = [(study, mean) for study, mean in means if mean is not None]
    if not confirmed or len(confirmed) < len(means):
        return ranked[0][0], False
    sign = 1.0 if confirmed[0][0].direction == "maximize" else -1.0
    return max(confirmed, key=lambda pair: sign * pair[1])[0], True


def _confirmed_mean(study: Study, best: Trial) -> float | None:
    """The winner's mean over fresh seeds; None if the confirmation does not know `best`."""
    record = confirmations.read(study)
    if record is None or best.number not in confirmations.numbers(record):
        return None
    mean: float | None = next(
        c["mean"] for c in record["candidates"] if c["number"] == record["winner"]
    )
    return mean
