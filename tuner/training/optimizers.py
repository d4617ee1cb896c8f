"""Optimizers by name, with the hyperparameters that families search."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from tuner.trials import ParamValue

Make = Callable[[list[dict[str, Any]], Mapping[str, Any]], Optimizer]


def _sgd(groups: list[dict[str, Any]], params: Mapping[str, Any]) -> Optimizer:
    momentum = float(params.get("momentum", 0.0))
    nesterov = bool(params.get("nesterov", False)) and momentum > 0
    return torch.optim.SGD(
        groups, lr=params["learning_rate"], momentum=momentum, nesterov=nesterov, fused=True
    )


def _rmsprop(groups: list[dict[str, Any]], params: Mapping[str, Any]) -> Optimizer:
    return torch.optim.RMSprop(groups, lr=params["learning_rate"], foreach=True)


# fused: one kernel for all parameters, on CPUs and GPUs; RMSprop has none
OPTIMIZERS: Mapping[str, Make] = {
    "sgd": _sgd,
    "adam": lambda groups, p: torch.optim.Adam(groups, lr=p["learning_rate"], fused=True),
    "adamw": lambda groups, p: torch.optim.AdamW(groups, lr=p["learning_rate"], fused=True),
    "rmsprop": _rmsprop,
    "adagrad": lambda groups, p: torch.optim.Adagrad(groups, lr=p["learning_rate"], fused=True),
}


def make(model: nn.Module, params: Mapping[str, ParamValue]) -> Optimizer:
    """Make the optimizer that a trial's parameters describe.

    Reads `optimizer`, `learning_rate`, `weight_decay`, `momentum` and `nesterov`. Weight decay
    applies only to matrices and filters, as it hurts biases and normalization (Goyal et al., 2017).
    A model's method `learning_rates`, if it has one, returns parameter → learning rate.
    """
    decay = float(params.get("weight_decay") or 0.0)
    learning_rates = getattr(model, "learning_rates", None)
    rates: Mapping[str, float] = {} if learning_rates is None else learning_rates(params)
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate, decays = rates.get(name, float(params["learning_rate"])), parameter.ndim > 1  # type: ignore[arg-type]
        group = {"params": [], "lr": rate, "weight_decay": decay if decays else 0.0}
        groups.setdefault((rate, decays), group)["params"].append(parameter)
    return OPTIMIZERS[str(params["optimizer"])](list(groups.values()), params)
