"""A configuration in the formats of other tools: the parameters, pinned ones included."""

import json
import math
import pprint
import shlex
from collections.abc import Callable, Mapping

from tuner.export.result import yaml_text
from tuner.study_file.arguments import argument_list
from tuner.trials import ParamValue

Params = Mapping[str, ParamValue]

# parameter → argument of transformers' TrainingArguments that means the same
_ARGUMENTS = {
    "learning_rate": "learning_rate",
    "batch_size": "per_device_train_batch_size",
    "epochs": "num_train_epochs",
    "weight_decay": "weight_decay",
    "label_smoothing": "label_smoothing_factor",
    "clip_norm": "max_grad_norm",
    "schedule": "lr_scheduler_type",
    "warmup": "warmup_steps",  # below 1, a fraction of all steps
}
_OPTIMIZERS = {"adamw": "adamw_torch", "sgd": "sgd", "rmsprop": "rmsprop", "adagrad": "adagrad"}


def _json(params: Params) -> str:
    return json.dumps(dict(params), indent=2, ensure_ascii=False) + "\n"


def _toml(params: Params) -> str:
    """TOML has no null: a parameter without a value becomes a comment."""
    lines = []
    for name, value in params.items():
        key = name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else ""
        key = key or _toml_text(name)
        lines.append(f"# {key} = null" if value is None else f"{key} = {_toml_value(value)}")
    return "\n".join(lines) + "\n"


def _toml_value(value: ParamValue) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _toml_text(value)
    if isinstance(value, float) and math.isfinite(value) and "." not in repr(value):
        return repr(value).replace("e", ".0e")
    return repr(value)


def _toml_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _python(params: Params) -> str:
    return f"PARAMS = {pprint.pformat(dict(params), sort_dicts=False)}\n"


def _flags(params: Params) -> str:
    """Command-line options, quoted for a shell."""
    return shlex.join(argument_list(("{arguments}",), params)) + "\n"


def _hydra(params: Params) -> str:
    """A configuration file for Hydra; `${` is escaped, which OmegaConf would interpolate."""
    escaped = {
        name: value.replace("${", "\\${") if isinstance(value, str) else value
        for name, value in params.items()
    }
    return "# @package _global_\n" + yaml_text(escaped)


def _transformers(params: Params) -> str:
    """Arguments of transformers' Trainer; parameters that it does not have become a comment."""
    arguments = {_ARGUMENTS[n]: v for n, v in params.items() if n in _ARGUMENTS}
    others = {n: v for n, v in params.items() if n not in _ARGUMENTS}
    if (optimizer := _OPTIMIZERS.get(str(params.get("optimizer")))) is not None:
        arguments["optim"] = optimizer
        del others["optimizer"]
    if params.get("schedule") == "constant" and params.get("warmup"):
        arguments["lr_scheduler_type"] = "constant_with_warmup"
    if "encoder_learning_rate" in params:
        # the Trainer has one rate: that of the encoder, which holds most weights
        arguments["learning_rate"] = params["encoder_learning_rate"]
        others["learning_rate"] = params["learning_rate"]
        others.pop("encoder_learning_rate")
    lines = "".join(f"    {name}={value!r},\n" for name, value in arguments.items())
    rest = "".join(f"# {name}={value!r}\n" for name, value in others.items())
    comment = f"\n# without a counterpart in TrainingArguments:\n{rest}" if rest else ""
    return (
        "from transformers import TrainingArguments\n\n"
        f'arguments = TrainingArguments(\n    output_dir="output",\n{lines})\n{comment}'
    )


def _optuna(params: Params) -> str:
    literal = pprint.pformat(dict(params), sort_dicts=False)
    return (
        "import optuna\n\n"
        f"PARAMS = {literal}\n\n\n"
        "def enqueue(study: optuna.Study) -> None:\n"
        '    """Have the study try this configuration next."""\n'
        "    study.enqueue_trial(PARAMS)\n"
    )


# name → file, how it is written
FORMATS: Mapping[str, tuple[str, Callable[[Params], str]]] = {
    "json": ("config.json", _json),
    "toml": ("config.toml", _toml),
    "python": ("config.py", _python),
    "flags": ("flags.txt", _flags),
    "hydra": ("hydra.yaml", _hydra),
    "transformers": ("training_arguments.py", _transformers),
    "optuna": ("enqueue.py", _optuna),
}
