"""The costs of keeping and using a network, measured on the device that trains it."""

import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

WARM, TIMED = 3, 10  # examples before the timing starts, and during it


def parameters(model: nn.Module) -> int:
    """Count the model's parameters, trained or not."""
    return sum(parameter.numel() for parameter in model.parameters())


@torch.inference_mode()
def latency(
    model: nn.Module, answer: Callable[[Any], object], examples: Iterable[Any], device: torch.device
) -> float:
    """Measure the milliseconds of an answer to one example whose inputs are on the device.

    Returns the median over the examples, without the first `WARM` ones.
    """
    model.eval()
    seconds = []
    for inputs in examples:
        _wait(device)
        started = time.perf_counter()
        answer(inputs)
        _wait(device)
        seconds.append(time.perf_counter() - started)
    return 1000.0 * statistics.median(seconds[WARM:] or seconds)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
