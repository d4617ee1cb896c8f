"""The one training loop of all torch families.

It trains a cohort: a list of trials that take turns an epoch at a time and report together. Each
has its own model, optimizer, order of the data and random state, so its result does not depend on
who else is in the cohort.
"""

import torch

from tuner.data.prepared import Prepared
from tuner.training.cohort import Cohort, Context, Decision
from tuner.training.member import Build, Load, Member, load_resident
from tuner.trials import Report


def warm_up() -> None:
    """Set this process up for training; for processes that do nothing else."""
    torch.set_flush_denormal(True)  # denormal numbers cost CPUs a hundred times as much


def train(
    cohort: Cohort,
    data: Prepared,
    context: Context,
    build: Build,
    load: Load = load_resident,
) -> None:
    """Train every trial of the cohort to its end, or until its context says otherwise.

    `build` makes a trial's model, `load` gives the data as that model takes it.
    """
    torch.set_num_threads(cohort.threads)
    device = torch.device(cohort.device)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    running = []
    for task in cohort.tasks:
        member = Member(task, cohort, data, device, build, load)
        member.resume()
        running.append(member)
    while running := [member for member in running if not member.finish_if_done(context)]:
        reports: dict[int, Report] = {}
        for member in list(running):
            report, problem = member.epoch()
            if report is None:
                member.end()
                context.diverged(member.number, problem)
                running.remove(member)
            else:
                reports[member.number] = report
        decisions = context.report(reports) if reports else {}
        for member in list(running):
            decision = decisions.get(member.number, Decision.STOP)
            if decision is Decision.GO_ON:
                member.save_now_and_then()
                continue
            if decision is Decision.STOP:
                member.save()  # its next attempt goes on from here
            else:
                member.end()
            running.remove(member)
