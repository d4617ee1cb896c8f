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


# fused: one kernel for all parameters, on the CPU as on GPUs; RMSprop has none
OPTIMIZERS: Mapping[str, Make] = {
    "sgd": _sgd,
    "adam": lambda groups, p: torch.optim.Adam(groups, lr=p["learning_rate"], fused=True),
    "adamw": lambda groups, p: torch.optim.AdamW(groups, lr=p["learning_rate"], fused=True),
    "rmsprop": _rmsprop,
    "adagrad": lambda groups, p: torch.optim.Adagrad(groups, lr=p["learning_rate"], fused=True),
}


def make(model: nn.Module, params: Mapping[str, ParamValue]) -> Optimizer:
    """The optimizer that `params` ask for.

    Reads `optimizer`, `learning_rate`, `weight_decay`, `momentum` and `nesterov`. Weight decay is
    for matrices and filters alone: on biases and normalization it only hurts (Goyal et al., 2017).
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    decay = float(params.get("weight_decay") or 0.0)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    name = str(params["optimizer"])
    return OPTIMIZERS[name]([g for g in groups if g["params"]], params)
