"""The best configuration as a folder that can be used and defended.

    best.yaml, best.json   the configuration, its metric, data, versions, seed, and how to repeat
    reproduce.yaml         a study file that trains just this configuration again
    weights.safetensors    the trial's weights at its best epoch
    vectors.txt            of word vectors, the same as gensim and others read them
    checkpoint, artifacts  of users' own code instead: what it has saved last, and what it has kept

The test part is read here, once, after the choice is made; the validation figure is measured again
from the exported weights, so that what the folder claims is what its weights do. Users' own code
alone knows how to do that: its figure is the one that it reported.
"""

import io
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from ruamel.yaml import YAML

from tuner import __version__, artifacts, files
from tuner.errors import BadInputError, ExecutorError, NothingToExportError
from tuner.files import shown
from tuner.own import kept
from tuner.settings import Settings, executor_environment
from tuner.spec.code import argument_list
from tuner.spec.resolved import ResolvedSpec
from tuner.spec.seeds import trial_seed
from tuner.spec.study import NAME_LENGTH
from tuner.spec.words import quoted
from tuner.trials import ParamValue, Study, Trial

FILES = frozenset(
    {
        *("best.yaml", "best.json", "reproduce.yaml", artifacts.WEIGHTS_FILE),
        *(artifacts.VECTORS_FILE, artifacts.CHECKPOINT_FOLDER, artifacts.ARTIFACTS_FOLDER),
    }
)
SUFFIX = "-reproduced"  # of the study in reproduce.yaml
PACKAGES = ("torch", "numpy", "optuna", "gensim", "safetensors")


@dataclass(frozen=True, slots=True)
class Exported:
    """An export that lies on disk."""

    folder: Path
    content: dict[str, Any]  # of best.json


def export(
    study: Study, trial: Trial, folder: Path, settings: Settings, *, force: bool = False
) -> Exported:
    """Write the folder for a complete trial; it appears whole or not at all.

    BadInputError if the folder exists and `force` is not set, or holds anything but an export;
    NothingToExportError where the trial's weights are not on this machine.
    """
    if study.spec is None:
        raise NothingToExportError(
            f"the study {quoted(study.name)} was made through Optuna: tuner has no family, data "
            "and weights of it (`tuner best` prints its best parameters)"
        )
    _refuse_taken(folder, force=force)
    spec = ResolvedSpec.from_json(study.spec)
    attempts = [
        artifacts.attempt_folder(settings, study.id, trial.number, attempt)
        for attempt in range(trial.attempt, 0, -1)
    ]
    if spec.code is not None:
        with files.whole_folder(folder, replace=force) as aside:
            content = _content(study, spec, trial, {})
            content["kept"] = kept.copy(attempts, spec.code, aside)
            if not attempts[0].is_dir():
                where = trial.worker or "another worker"
                content["missing"] = f"what the trial has kept is not here: {where} has trained it"
            _write(content, study, spec, trial, aside)
        return Exported(folder, content)
    last = artifacts.attempt_folder(settings, study.id, trial.number, trial.attempt)
    weights = last / artifacts.WEIGHTS_FILE
    with _opened(weights, trial) as source, files.whole_folder(folder, replace=force) as aside:
        copy = aside / artifacts.WEIGHTS_FILE
        with copy.open("wb") as file:
            shutil.copyfileobj(source, file)
        params = spec.space.complete(trial.params)
        measured = _evaluate(study, spec, params, copy, settings, weights)
        content = _content(study, spec, trial, measured)
        _write(content, study, spec, trial, aside)
    return Exported(folder, content)


def _write(
    content: dict[str, Any], study: Study, spec: ResolvedSpec, trial: Trial, folder: Path
) -> None:
    (folder / "best.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (folder / "best.yaml").write_text(yaml_text(content), encoding="utf-8")
    (folder / "reproduce.yaml").write_text(
        yaml_text(_reproducing(study, spec, trial)), encoding="utf-8"
    )


def is_export_of(folder: Path, study: str) -> bool:
    """Whether the folder is an earlier export of the study of this name, and nothing more."""
    try:
        content = json.loads((folder / "best.json").read_text(encoding="utf-8"))
        return bool(content["study"] == study) and _holds_nothing_else(folder)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False


def _refuse_taken(folder: Path, *, force: bool) -> None:
    """BadInputError if the folder must stay as it is: `--force` is no `rm -r` of what is there."""
    if not os.path.lexists(folder):
        return
    if not force:
        raise BadInputError(
            f"{shown(folder)}: exists already; name another folder with `--to`, or replace an "
            "earlier export with `--force`"
        )
    if folder.is_dir() and not _holds_nothing_else(folder):
        raise BadInputError(
            f"{shown(folder)}: holds more than an export and is not replaced; name another folder "
            "with `--to`"
        )


def _holds_nothing_else(folder: Path) -> bool:
    try:
        return all(entry.name in FILES for entry in folder.iterdir())
    except OSError:
        return False


def _opened(weights: Path, trial: Trial) -> BinaryIO:
    try:
        return weights.open("rb")
    except FileNotFoundError:
        raise NothingToExportError(
            f"the weights of trial {trial.number} are not in {shown(weights.parent)}: it was "
            f"trained by {trial.worker or 'another worker'}; export there, or share TUNER_HOME"
        ) from None
    except OSError as error:
        raise NothingToExportError(
            f"{shown(weights)}: cannot be read ({error.strerror or error})"
        ) from error


def _content(
    study: Study, spec: ResolvedSpec, trial: Trial, measured: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """What best.json says; `measured` are all metrics by part, nothing for users' own code."""
    params = spec.space.complete(trial.params)
    metric = study.metric
    best_step = next((r.step for r in trial.reports if r.value == trial.value), None)
    return {
        "study": study.name,
        "trial": trial.number,
        "family": spec.family,
        "params": params,
        "metric": {
            "name": metric,
            "direction": study.direction,
            "validation": trial.value,
            **(
                {
                    "validation_from_weights": measured["validation"][metric],
                    "test": measured["test"][metric],
                }
                if measured
                else {}
            ),
            "epoch": best_step,
        },
        **({"test": measured["test"]} if measured else {}),
        **_what_was_run(study, spec, params),
        "seed": trial_seed(spec, trial.number),
        "epochs": spec.budget.epochs,
        "trained_on": dict(trial.user_attrs),
        "versions": versions(),
        "reproduce": "tuner run reproduce.yaml",
    }


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


def versions() -> dict[str, str]:
    """What the result was made with."""
    return {
        "tuner": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES if find_spec(name)},
    }


def _reproducing(study: Study, spec: ResolvedSpec, trial: Trial) -> dict[str, Any]:
    """A study file with everything pinned and one trial."""
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
        "objective": spec.objective.model_dump(mode="json"),
        "budget": {"trials": 1, "epochs": spec.budget.epochs},
        "search": spec.space.pinned(spec.space.complete(trial.params)),
        "pruner": "none",
        "training": {
            **spec.training.model_dump(mode="json", exclude_none=True),
            "seed": trial_seed(spec, trial.number),
        },
        # sums differ in the last digit with the number of threads
        "resources": {"workers": 1, "threads": trial.user_attrs.get("threads", 1)},
    }


def _evaluate(
    study: Study,
    spec: ResolvedSpec,
    params: dict[str, Any],
    copy: Path,
    settings: Settings,
    source: Path,
) -> dict[str, dict[str, float]]:
    """Every metric on the validation and test parts, measured in a process of its own (torch)."""
    assert spec.data is not None
    request = {
        "family": spec.family,
        "params": params,
        "data": spec.data.model_dump(mode="json"),
        "cache": str(settings.data_cache),
        "fingerprint": study.data_fingerprint,
        "weights": str(copy),
        "threads": 1,
        "parts": ["validation", "test"],
    }
    process = subprocess.run(
        [sys.executable, "-m", "tuner.families.evaluate"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        errors="replace",
        env=executor_environment(1, None),
        check=False,
    )
    if process.returncode != 0:
        lines = process.stderr.strip().splitlines()
        said = lines[-1] if lines else f"its process ended with code {process.returncode}"
        # 2: a TunerError about what the user can change, as data that is not there any more
        kind = BadInputError if process.returncode == BadInputError.exit_code else ExecutorError
        raise kind(f"{shown(source)}: these weights cannot be measured: {said}")
    result: dict[str, dict[str, float]] = json.loads(process.stdout)
    return result


def all_params(study: Study, trial: Trial) -> dict[str, Any]:
    """A trial's parameters with the pinned ones that are active beside them."""
    if study.spec is None:
        return dict(trial.params)
    return ResolvedSpec.from_json(study.spec).space.complete(trial.params)


def yaml_text(content: dict[str, Any]) -> str:
    """Plain values as YAML that versions 1.1 and 1.2 read alike."""
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
