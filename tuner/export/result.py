"""A bundle's `result.json`, and the study file that trains its configuration again."""

import io
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from ruamel.yaml import YAML

from tuner import __version__
from tuner.families import registry
from tuner.study_file.arguments import argument_list
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.seeds import seed_of
from tuner.study_file.study import NAME_LENGTH
from tuner.trials import ParamValue, Study, Trial

SUFFIX = "-reproduced"  # of the study in reproduce.yaml
METHOD = "bootstrap of the part's examples"  # of intervals
PACKAGES = ("torch", "numpy", "optuna", "gensim", "safetensors")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Exported weights, measured: all metrics by part, and the objective's 95 % interval."""

    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    scale: tuple[float, float] | None = None  # labels that are numbers: mean, standard deviation
    onnx: Mapping[str, Any] | None = None  # `model.onnx` against torch, a `requests.OnnxFile`


def content(
    study: Study, spec: ResolvedSpec, trial: Trial, measured: Evaluation | None
) -> dict[str, Any]:
    """The content of result.json; user code has no measurements."""
    params = spec.space.complete(trial.params)
    best_step = next((r.step for r in trial.reports if r.value == trial.value), None)
    test = {} if measured is None else measured.metrics.get("test", {})
    return {
        "study": study.name,
        "trial": trial.number,
        "family": spec.family,
        "params": params,
        "metric": {
            "name": study.metric,
            "direction": study.direction,
            "validation": trial.value,
            **({} if measured is None else _figures(study.metric, measured)),
            "epoch": best_step,
        },
        **({"test": dict(test)} if test else {}),
        **({"onnx": measured.onnx} if measured is not None and measured.onnx is not None else {}),
        **_what_was_run(study, spec, params),
        **(
            {"labels": dict(zip(("mean", "standard_deviation"), measured.scale, strict=True))}
            if measured is not None and measured.scale is not None
            else {}
        ),
        "seed": seed_of(spec, trial),
        "epochs": spec.budget.epochs,
        "trained_on": dict(trial.user_attrs),
        "versions": versions(spec.family),
        "reproduce": "tuner run reproduce.yaml",
    }


def _figures(metric: str, measured: Evaluation) -> dict[str, Any]:
    figures: dict[str, Any] = {"validation_from_weights": measured.metrics["validation"][metric]}
    if "test" in measured.metrics:
        figures["test"] = measured.metrics["test"][metric]
    for part, interval in measured.intervals.items():
        figures[f"{part}_interval"] = list(interval)
    if measured.intervals:
        figures["interval_method"] = f"95 %, {METHOD}"
    return figures


def _what_was_run(
    study: Study, spec: ResolvedSpec, params: Mapping[str, ParamValue]
) -> dict[str, Any]:
    if spec.data is not None:
        data = spec.data.model_dump(mode="json", exclude_defaults=True)
        return {"data": {**data, "fingerprint": study.data_fingerprint}}
    assert spec.code is not None
    code = spec.code.model_dump(mode="json", exclude_none=True)
    if spec.code.command is not None:
        code["command"] = argument_list(spec.code.command, params)
    return {"code": code}


def versions(family: str | None = None) -> dict[str, str]:
    """Return the versions of what results are made with, and of the family's own package."""
    package = None if family is None else registry.package(family)
    return {
        "tuner": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES if find_spec(name)},
        **({} if package is None else dict([package])),
    }


def lock() -> str:
    """Return every installed package, as `pip install --requirement` reads it."""
    requirements = {
        (dist.metadata["Name"] or "").lower(): f"{dist.metadata['Name']}=={dist.version}"
        for dist in metadata.distributions()
        if dist.metadata["Name"]
    }
    head = f"# Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    return "\n".join([head, *(requirements[name] for name in sorted(requirements))]) + "\n"


def reproducing(
    study: Study, spec: ResolvedSpec, trial: Trial, *, checkpoint: str | None = None
) -> dict[str, Any]:
    """Return a study file with every parameter pinned and one trial.

    `checkpoint` is the path to its pretrained model, relative to the file, if it was copied.
    """
    search = spec.space.pinned(spec.space.complete(trial.params))
    if checkpoint is not None:
        search["checkpoint"]["value"] = checkpoint
    return {
        "name": f"{study.name[: NAME_LENGTH - len(SUFFIX)]}{SUFFIX}",
        "family": spec.family,
        **(
            {"data": spec.data.model_dump(mode="json", exclude_defaults=True)}
            if spec.data is not None
            else {}
        ),
        **(
            spec.code.model_dump(mode="json", exclude_none=True, exclude={"fingerprint"})
            if spec.code is not None
            else {}
        ),
        "objective": spec.objective.as_written(),
        "budget": _budget(spec),
        "search": search,
        "pruner": "none",
        "training": {
            **spec.training.model_dump(mode="json", exclude_none=True),
            "seed": seed_of(spec, trial),
        },
        # sums differ in the last digit with the number of threads
        "resources": {"workers": 1, "threads": trial.user_attrs.get("threads", 1)},
    }


def _budget(spec: ResolvedSpec) -> dict[str, Any]:
    fidelity = spec.budget.whole_fidelity if spec.code else None
    if fidelity is None:
        return {"trials": 1, "epochs": spec.budget.epochs}
    return {"trials": 1, "fidelity": fidelity.model_dump(mode="json")}


def all_params(study: Study, trial: Trial) -> dict[str, Any]:
    """Return a trial's parameters and the active pinned ones."""
    if study.spec is None:
        return dict(trial.params)
    return ResolvedSpec.from_json(study.spec).space.complete(trial.params)


def yaml_text(content: dict[str, Any]) -> str:
    """Write plain values as YAML that versions 1.1 and 1.2 read alike."""
    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.representer.add_representer(float, _represent_float)
    yaml.dump(content, stream)
    return stream.getvalue()


def _represent_float(representer: Any, value: float) -> Any:
    """`1e-05` is a number in YAML 1.2 but a text in 1.1 (PyYAML); `1.0e-05` is one in both."""
    text = repr(value)
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    special = {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}
    return representer.represent_scalar("tag:yaml.org,2002:float", special.get(text, text))
