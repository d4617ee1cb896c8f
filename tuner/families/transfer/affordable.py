"""The costs of pretrained checkpoints, and which ones a study can afford.

Memory and seconds per epoch are measured over a few steps at the launch, on the machine that
launches, in a separate process (torch). The figures are cached, so that launching the same file
again gives the same study.
"""

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import psutil

from tuner import files, processes
from tuner.data.prepared import PreparedData
from tuner.errors import Issue, SpecError
from tuner.families.bundle.requests import Cost, Profile
from tuner.families.transfer import files as checkpoints
from tuner.settings import executor_environment, visible_cuda_devices
from tuner.study_file.messages import written
from tuner.study_file.parameters import CategoricalParameter, FixedParameter, Searched, at
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.space import Space
from tuner.trials import ParamValue

# in the order of the memory they need, so that the peak so far is that of the last one measured
WAYS = ("frozen", "partial", "lora", "full")
SHARE = 0.8  # of the machine's memory, if the study file sets no limit
_MIB_PER_GIB = 1024

_Costs = Mapping[str, tuple[float, float]]  # way → MiB, seconds; one that failed is missing


def affordable(spec: ResolvedSpec, data: PreparedData) -> tuple[ResolvedSpec, tuple[str, ...]]:
    """Remove checkpoints and ways of fine-tuning that exceed a study's limits, with notes on them.

    Measures only if the study names several checkpoints or sets a limit. SpecError if nothing
    remains, DataError if a checkpoint is missing.
    """
    if "checkpoint" not in spec.space.parameters:
        return spec, ()
    names = _values(spec.space.parameters["checkpoint"])
    for name in names:
        checkpoints.locate(str(name))
    resources = spec.resources
    if len(names) == 1 and resources.memory is None and resources.epoch_seconds is None:
        return spec, ()
    ways = [way for way in WAYS if way in _values(spec.space.parameters["fine_tuning"])]
    out: dict[tuple[str, str], str] = {}
    for name in map(str, names):
        costs = _costs_of(spec, data, name, ways)
        for way in ways:
            if (reason := _exceeds(spec, costs.get(way))) is not None:
                out[name, way] = reason
    notes = tuple(f"left out: {name}, {way}: {reason}" for (name, way), reason in out.items())
    if not out:
        return spec, ()
    if len(out) == len(names) * len(ways):
        raise SpecError(issues=[Issue(("search", "checkpoint"), "; ".join(notes))])
    return _without(spec, out, len(names), len(ways)), notes


def with_digests(spec: ResolvedSpec) -> ResolvedSpec:
    """Add the digests of a study's checkpoints, since a hub's or folder's files may change."""
    if "checkpoint" not in spec.space.parameters:
        return spec
    names = map(str, _values(spec.space.parameters["checkpoint"]))
    digests = {name: checkpoints.digest(checkpoints.locate(name)).hex() for name in names}
    return spec.model_copy(update={"checkpoints": digests})


def _values(parameter: Searched) -> Sequence[ParamValue]:
    if isinstance(parameter, CategoricalParameter):
        return parameter.choices
    assert isinstance(parameter, FixedParameter)
    return (parameter.value,)


def _limit(spec: ResolvedSpec) -> float:
    """Return the MiB of memory that a trial may use."""
    if spec.resources.memory is not None:
        return spec.resources.memory * _MIB_PER_GIB
    executors = spec.resources.workers or os.cpu_count() or 1
    total: int = psutil.virtual_memory().total
    return SHARE * total / 2**20 / executors


def _exceeds(spec: ResolvedSpec, cost: tuple[float, float] | None) -> str | None:
    """Return which limit the cost exceeds, in words, or None."""
    memory, seconds = _limit(spec), spec.resources.epoch_seconds
    if cost is None:
        return f"does not fit into {memory / _MIB_PER_GIB:.3g} GiB of memory"
    if cost[0] > memory:
        return (
            f"needs {cost[0] / _MIB_PER_GIB:.3g} GiB of memory, "
            f"{memory / _MIB_PER_GIB:.3g} are allowed"
        )
    if seconds is not None and cost[1] > seconds:
        return f"an epoch takes about {cost[1]:,.0f} s, {written(seconds)} are allowed"
    return None


def _without(
    spec: ResolvedSpec, out: Mapping[tuple[str, str], str], names: int, ways: int
) -> ResolvedSpec:
    """Remove these pairs of checkpoint and way from a study's search space."""
    parameters = dict(spec.space.parameters)
    removed: dict[str, set[str]] = {"checkpoint": set(), "fine_tuning": set()}
    for name, way in out:
        if sum(n == name for n, _ in out) == ways:
            removed["checkpoint"].add(name)
        if sum(w == way for _, w in out) == names:
            removed["fine_tuning"].add(way)
    for key, values in removed.items():
        parameter = parameters[key]
        if values and isinstance(parameter, CategoricalParameter):
            choices = tuple(value for value in parameter.choices if value not in values)
            parameters[key] = parameter.model_copy(update={"choices": choices})
    pairs = tuple(
        {"checkpoint": (name,), "fine_tuning": (way,)}
        for name, way in out
        if name not in removed["checkpoint"] and way not in removed["fine_tuning"]
    )
    space = Space(parameters=parameters, forbidden=(*spec.space.forbidden, *pairs))
    enqueue = tuple(
        entry
        for entry in spec.enqueue
        if (entry.get("checkpoint"), entry.get("fine_tuning")) not in out
        and entry.get("checkpoint") not in removed["checkpoint"]
        and entry.get("fine_tuning") not in removed["fine_tuning"]
    )
    return spec.model_copy(update={"space": space, "enqueue": enqueue})


def _costs_of(spec: ResolvedSpec, data: PreparedData, name: str, ways: Sequence[str]) -> _Costs:
    """Return the costs of one checkpoint, from the cache or measured now."""
    assert spec.data is not None
    params = {key: at(parameter, 0.0) for key, parameter in spec.space.parameters.items()}
    params["batch_size"] = max(map(int, _numbers(spec.space.parameters["batch_size"])))
    request = Profile(
        family=spec.family,
        data=spec.data,
        params={**params, "checkpoint": name},
        ways=ways,
        device=spec.resources.device,
        threads=spec.resources.threads or 1,
        limit=_limit(spec),
        cache=data.folder.parent,
    )
    content = request.model_dump(mode="json", exclude={"cache"})
    identity = [content, checkpoints.digest(checkpoints.locate(name)).hex(), data.folder.name]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    path = data.folder.parent / "costs" / f"{digest}.json"
    try:
        return {way: (cost[0], cost[1]) for way, cost in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, AttributeError, IndexError, TypeError):
        costs = _measure(request)
    files.write(path, json.dumps(costs))
    return costs


def _numbers(parameter: Searched) -> Sequence[Any]:
    return (
        _values(parameter)
        if isinstance(parameter, CategoricalParameter | FixedParameter)
        else (parameter.high,)
    )


def _measure(request: Profile) -> _Costs:
    """Measure the ways in a process; those after one that needs too much memory are missing."""
    visible = visible_cuda_devices()
    process = subprocess.run(
        processes.command("tuner.families.transfer.profile"),
        input=request.dumps(),
        capture_output=True,
        text=True,
        errors="replace",
        env=executor_environment(request.threads, "0" if visible is None else ",".join(visible)),
        check=False,
    )
    if process.returncode == SpecError.exit_code:  # what the user can change
        last = (process.stderr.strip().splitlines() or ["?"])[-1]
        raise SpecError(issues=[Issue(("search", "checkpoint"), last)])
    costs = map(Cost.loads, process.stdout.splitlines())
    return {cost.way: (cost.memory, cost.seconds) for cost in costs}
