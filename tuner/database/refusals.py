"""Why a study gives no trial, and how to continue it: the sentences, in one place."""

from sqlalchemy import Connection

from tuner import shell
from tuner.database import serving, trials
from tuner.errors import visible
from tuner.study_file.messages import counted, quoted
from tuner.trials import Study, StudyState


def explain_no_trial(connection: Connection, study: Study, *, lease: float) -> str:
    """Explain why a study gives no new trial, and what to do."""
    name = quoted(study.name)
    reason = f" ({visible(study.reason)})" if study.reason else ""
    if study.state in (StudyState.PAUSED, StudyState.STOPPED):
        resume = shell.command("resume", study.name)
        return f"the study {name} is {study.state}{reason}: continue it with `{resume}`"
    budget = serving.used_up(connection, study.id, lease=lease)
    if study.state is StudyState.FINISHED:
        return f"the study {name} is finished{reason}: {describe_extension(study, budget)}"
    # a waiting trial may have started: then it is for the worker that resumes it
    return explain_given_out(study, budget or "trials")


def explain_given_out(study: Study, budget: str, queued: int = 1) -> str:
    """Explain that a budget gives no more trials, and what to do for `queued` further ones."""
    return f"{describe_given_out(study, budget)}: {describe_extension(study, budget, queued)}"


def describe_given_out(study: Study, budget: str) -> str:
    """Say that a budget gives no more trials."""
    of = f"of the study {quoted(study.name)}"
    match budget:
        case "trials" if study.max_trials == 1:
            return f"the only trial {of} is given out"
        case "trials":
            return f"all {study.max_trials} trials {of} are given out"
        case "total_epochs" if study.epochs_issued < (study.max_epochs or 0):
            remaining = (study.max_epochs or 0) - study.epochs_issued
            return (
                f"the {study.max_epochs} epochs {of} leave {remaining}, too few for another trial"
            )
        case "total_epochs":
            epochs = "epoch" if study.max_epochs == 1 else f"{study.max_epochs} epochs"
            return f"the {epochs} {of} {'is' if study.max_epochs == 1 else 'are'} given out"
        case "gpu_seconds":
            seconds = f"the {study.max_seconds or 0:g} GPU seconds {of}"
            rest = (study.max_seconds or 0) - study.seconds_issued
            if rest < 0.05:
                return f"{seconds} are given out"
            return f"{seconds} leave {rest:.1f}, too few for another trial"
        case _:
            return f"the hours {of} are over"


def notes_on_queue(connection: Connection, study: Study) -> list[str]:
    """Return a note if the budget of trials does not cover all queued configurations."""
    needed = study.issued + trials.queued(connection, study.id)
    if study.max_trials is None or needed <= study.max_trials:
        return []
    excess = needed - study.max_trials
    change = shell.command("change", study.name, f"budget.trials={needed}")
    what = f"{counted(excess, 'queued configuration')}: `{change}` includes"
    return [f"the budget leaves out {what} {'it' if excess == 1 else 'all of them'}"]


def describe_extension(study: Study, budget: str | None, queued: int = 1) -> str:
    """Say how to continue a study whose `budget` is used up; None: something else ended it."""
    if budget is None:
        return _describe_lifting(study)
    if budget == "trials":
        change = shell.command("change", study.name, f"budget.trials={study.issued + queued}")
        return f"raise its budget with `{change}` or more to continue"
    change = shell.command("change", study.name, f"budget.{budget}=N")
    return f"raise its budget with `{change}` to continue"


def _describe_lifting(study: Study) -> str:
    """Say how to continue a study that reached its target or patience, or tried its whole space."""
    limits = (study.spec or {}).get("budget", {})
    ending = [name for name in ("target", "patience") if limits.get(name) is not None]
    if not ending:
        return f"`{shell.command('change', study.name, 'sampler.repeat=true')}` repeats them"
    change = shell.command("change", study.name, *(f"budget.{name}=null" for name in ending))
    return f"remove {'these limits' if ending[1:] else 'that limit'} with `{change}` to continue"
