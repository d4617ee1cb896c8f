"""The one training loop of all families.

It trains a cohort: a list of trials that take turns epoch by epoch and report together. Each has
its own model, optimizer, data order and random state, so its result does not depend on the other
trials of the cohort.
"""

from collections.abc import Callable

import torch

from tuner.data.prepared import PreparedData
from tuner.training.cohort import Cohort, Context, Decision, Task
from tuner.training.member import DivergedError, Learner, Member
from tuner.training.network import (
    Build,
    Load,
    MakeObjective,
    Network,
    Upstream,
    load_resident,
    nothing_upstream,
    supervision,
)
from tuner.trials import Report


def train(
    cohort: Cohort,
    data: PreparedData,
    context: Context,
    build: Build,
    load: Load = load_resident,
    objective: MakeObjective = supervision,
    upstream: Upstream = nothing_upstream,
) -> None:
    """Train a cohort of networks.

    `build` makes a trial's network, `load` gives the data as that network takes it, `objective`
    says what it is trained for, `upstream` what it costs to make its inputs of an example.
    """
    torch.set_num_threads(cohort.threads)
    device = torch.device(cohort.device)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True

    def learner(task: Task) -> Network:
        return Network(task, cohort, data, device, build, load, objective, upstream)

    run(cohort, context, learner)


def run(cohort: Cohort, context: Context, learner: Callable[[Task], Learner]) -> None:
    """Train every trial of the cohort to its end, or until the context says otherwise."""
    running = []
    for task in cohort.tasks:
        member = Member(task, cohort, learner(task))
        member.resume()
        running.append(member)
    while running := [member for member in running if not member.finish_if_done(context)]:
        reports: dict[int, Report] = {}
        for member in list(running):
            try:
                reports[member.number] = member.epoch()
            except DivergedError as error:
                context.diverged(member.number, str(error))
                running.remove(member)
        decisions = context.report(reports) if reports else {}
        for member in list(running):
            decision = decisions.get(member.number, Decision.STOP)
            if decision is Decision.GO_ON:
                member.save_if_due()
                continue
            if decision in (Decision.STOP, Decision.PAUSE):
                member.save()  # the next attempt continues from here
            if decision is Decision.PAUSE:
                context.paused(member.number)
            running.remove(member)
