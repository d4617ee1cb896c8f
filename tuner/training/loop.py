"""The one training loop of all families.

It trains a cohort: a list of trials that take turns epoch by epoch and report together. Each has
its own model, optimizer, data order and random state, so its result does not depend on the other
trials of the cohort.
"""

from collections.abc import Callable

import torch

from tuner.data.prepared import PreparedData
from tuner.training.cohort import Cohort, Context, Decision, FailedError, Task
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
from tuner.trials import Cause, Report


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

    def learner(task: Task, share: float = 1.0) -> Network:
        return Network(task, cohort, data, device, build, load, objective, upstream, share)

    if cohort.fidelities:
        climb(cohort, context, learner)
    else:
        run(cohort, context, learner)


def run(cohort: Cohort, context: Context, learner: Callable[[Task], Learner]) -> None:
    """Train every trial of the cohort to its end, or until the context says otherwise.

    FailedError if the study has a fidelity, which only networks do.
    """
    if cohort.fidelities:
        sentence = f"the family `{cohort.family}` cannot train on a share of its data"
        raise FailedError(Cause.USER_ERROR, f"{sentence}; remove `budget.fidelity`")
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


def climb(cohort: Cohort, context: Context, learner: Callable[[Task, float], Learner]) -> None:
    """Train every trial from the start at each level of fidelity, and report the best epoch of it.

    What was learned from a part of the examples is not kept: the learning rates of a schedule, and
    epochs of different lengths, would make a trial's value depend on its way.
    """
    for task in cohort.tasks:
        _climb(task, cohort, context, learner)


def _climb(
    task: Task, cohort: Cohort, context: Context, learner: Callable[[Task, float], Learner]
) -> None:
    seconds = 0.0
    for level in range(task.level, len(cohort.fidelities)):
        share = cohort.fidelities[level]
        member = Member(task, cohort, learner(task, share), level=level, seconds=seconds)
        if level == task.level:
            member.resume()
        while not member.is_done:
            try:
                member.epoch()
            except DivergedError as error:
                context.diverged(member.number, f"{error}, with {share:.3g} of the examples")
                return
            if context.asked_to_stop():
                member.save()
                return
            member.save_if_due()
        report = member.best(level + 1)
        decision = context.report({member.number: report})[member.number]
        if decision is Decision.PAUSE:
            context.paused(member.number)
        if decision is not Decision.GO_ON:
            return  # the next attempt begins with the next level, and needs nothing of this one
        seconds = member.seconds
    member.finish_if_done(context)
