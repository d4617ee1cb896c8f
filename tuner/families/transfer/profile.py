"""Memory and time of a checkpoint: `python -m tuner.families.transfer.profile` < request.

This is a separate process, so that the command line never imports torch and a model that is too
large harms no other process. It trains a few steps in each way, the lightest first, and writes a
line of JSON for each; on a CPU it cannot allocate more than the limit.
"""

import contextlib
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tuner.data import PartName, PreparedData, prepare
from tuner.errors import TunerError
from tuner.families import registry
from tuner.families.bundle.requests import Cost, Profile
from tuner.families.code import Networks, load
from tuner.families.transfer import encoder, features, files
from tuner.training import resident
from tuner.training.cohort import Cohort, Task
from tuner.training.device import warm_up
from tuner.training.member import peak_memory
from tuner.training.network import Network, load_resident, predict

STEPS = 2  # of training that are timed, after as many that are not
_MIB = 2**20


def measure(request: Profile) -> Iterator[Cost]:
    """Measure the ways one by one; ends early if memory does not suffice."""
    data = prepare(request.data, request.cache)
    has_gpu = torch.cuda.is_available() and request.device != "cpu"
    device = torch.device("cuda" if has_gpu else "cpu")
    warm_up(str(device))
    torch.set_num_threads(request.threads)
    if not has_gpu:
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (int(request.limit * _MIB), most))
    for way in request.ways:
        params = {**request.params, "fine_tuning": way}
        try:
            measure_way = _measure_frozen if way == "frozen" else _measure_trained
            seconds = measure_way(request, params, data, device)
        except (torch.OutOfMemoryError, MemoryError):
            return
        except RuntimeError as error:
            if "can't allocate memory" in str(error):
                return
            raise
        yield Cost(way=way, memory=peak_memory(device), seconds=seconds)


def _measure_frozen(
    _: Profile, params: Mapping[str, Any], data: PreparedData, device: torch.device
) -> float:
    """Compute some features; they are computed once, so an epoch takes next to no time."""
    model = encoder.load(files.locate(params["checkpoint"]), data.kind, params["pooling"])
    part = resident.load(features.prepare_inputs(params, data), "train", device)
    predict(model.to(device), _sample(part, encoder.EVALUATION_BATCH))
    return 0.0


def _measure_trained(
    request: Profile, params: Mapping[str, Any], data: PreparedData, device: torch.device
) -> float:
    """Measure the seconds of an epoch, including its evaluation."""
    code = load(registry.card(request.family))
    assert isinstance(code, Networks)
    load_part = code.load or load_resident
    rows = min(STEPS * params["batch_size"], data.sizes["train"])
    share = float(rows / data.sizes["train"])

    def load_sample(
        params: Mapping[str, Any], data: PreparedData, name: PartName, device: torch.device
    ) -> resident.Resident:
        part = load_part(params, data, name, device)
        assert isinstance(part, resident.Resident)
        return _sample(part, max(1, round(len(part) * share)))

    task = Task(number=0, attempt=1, params=params, seed=0, folder=Path())
    cohort = Cohort(
        study="",
        family=request.family,
        data=request.data.model_dump(mode="json"),
        fingerprint=data.fingerprint,
        metric="",
        direction="maximize",
        epochs=2,
        early_stop=None,
        precision="auto",
        device=str(device),
        threads=request.threads,
        cache=request.cache,
        tasks=(task,),
    )
    learner = Network(task, cohort, data, device, code.build, load_sample)
    learner.epoch()
    started = time.perf_counter()
    learner.epoch()
    seconds = time.perf_counter() - started
    return seconds / share


def _sample(part: resident.Resident, rows: int) -> resident.Resident:
    """Sample rows of a part at random, so that their lengths are typical."""
    order = torch.randperm(len(part), generator=torch.Generator().manual_seed(0))[:rows]
    lengths = None if part.lengths is None else part.lengths[order]
    rows_on_device = order.to(part.labels.device)
    return replace(
        part,
        inputs=part.inputs[rows_on_device],
        labels=part.labels[rows_on_device],
        lengths=lengths,
    )


def main() -> None:
    """Answer the request on standard input; a TunerError is one line on standard error."""
    request = Profile.loads(sys.stdin.read())
    out = sys.stdout
    try:
        with contextlib.redirect_stdout(sys.stderr):
            for cost in measure(request):
                print(cost.dumps(), file=out, flush=True)
    except TunerError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
