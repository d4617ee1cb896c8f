"""Write a bundle, which appears as a whole or not at all."""

import json
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from tuner import artifacts, files, shell
from tuner.errors import BadInputError, NothingToExportError
from tuner.export import card, evaluation, manifest, result
from tuner.export.formats import FORMATS
from tuner.export.program import predict_program
from tuner.export.result import Evaluation
from tuner.families import registry
from tuner.families.bundle.requests import Evaluate, Evaluated
from tuner.families.card import Card
from tuner.families.transfer.files import BUNDLED
from tuner.files import shown
from tuner.settings import Settings
from tuner.study_file.messages import quoted
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import Study, Trial
from tuner.user_code import leftovers

RESULT, CONFIG, STUDY_FILE = "result.json", "config.yaml", "reproduce.yaml"
PREDICT = "predict.py"
ONNX_FILE = "model.onnx"
ONNX_PACKAGES = ("onnx", "onnxruntime")


@dataclass(frozen=True, slots=True)
class BundleOptions:
    """What a bundle holds besides the trial and its weights."""

    formats: Collection[str] = ()  # of the configuration, names of `FORMATS`
    trials: Sequence[Trial] = ()  # all of the study; the card sums them up
    importances: Mapping[str, float] | None = None
    look: bool = True  # whether the test part may be read
    test: Evaluation | None = None  # what an earlier look has shown of these weights
    looks: Sequence[Mapping[str, Any]] = ()  # at the test part, by trial, this one's among them
    onnx: bool = False  # whether to write the network as ONNX, too
    confirmed: Mapping[str, Any] | None = None  # what fresh seeds have shown of the trial
    notes: Sequence[str] = ()  # what the card must say about the choice or the test part


@dataclass(frozen=True, slots=True)
class Exported:
    """An export on disk."""

    folder: Path
    content: dict[str, Any]  # of result.json
    test: Evaluation | None = field(default=None)  # what a look at the test part has shown, if made


def export(
    study: Study,
    trial: Trial,
    folder: Path,
    settings: Settings,
    *,
    force: bool = False,
    options: BundleOptions | None = None,
) -> Exported:
    """Write the bundle of a complete trial.

    BadInputError if the folder exists and `force` is not set, or it holds anything but a bundle, or
    if ONNX is requested and the family or the installation does not support it;
    NothingToExportError if the trial's weights are not on this machine.
    """
    if study.spec is None:
        raise NothingToExportError(
            f"the study {quoted(study.name)} was made through Optuna: tuner has no family, data "
            f"and weights of it (`{shell.command('best', study.name)}` prints its best parameters)"
        )
    refuse_taken(folder, force=force)
    spec = ResolvedSpec.from_json(study.spec)
    options = options or BundleOptions()
    if options.onnx:
        _check_onnx(registry.card(spec.family))
    attempts = [
        artifacts.attempt_folder(settings, study.id, trial.number, attempt)
        for attempt in range(max(trial.attempt, 1), 0, -1)
    ]
    if spec.code is not None:
        with files.whole_folder(folder, replace=force) as aside:
            content = result.content(study, spec, trial, None)
            content["kept"] = leftovers.copy(attempts, spec.code, aside)
            if trial.ran_in_optuna:
                content["missing"] = (
                    f"trial {trial.number} was run through Optuna: its figure is the one that the "
                    "program reported, and tuner has no files of it"
                )
            elif not attempts[0].is_dir():
                where = trial.worker or "another worker"
                content["missing"] = f"the trial's files are not here: {where} has trained it"
            _write(content, study, spec, trial, options, aside)
        return Exported(folder, content)
    weights = (
        artifacts.attempt_folder(settings, study.id, trial.number, trial.attempt)
        / artifacts.WEIGHTS_FILE
    )
    with _opened(weights, trial) as source, files.whole_folder(folder, replace=force) as aside:
        with (aside / artifacts.WEIGHTS_FILE).open("wb") as copy:
            shutil.copyfileobj(source, copy)
        looks = options.look and options.test is None
        answer = _evaluate(study, spec, trial, settings, options, aside, weights, looks=looks)
        measured = evaluation.evaluation_of(answer)
        evaluation_ = measured if options.test is None else _with_test(measured, options.test)
        content = result.content(study, spec, trial, evaluation_)
        if options.looks:
            content["test_looks"] = [dict(look) for look in options.looks]
        _write(content, study, spec, trial, options, aside, build=answer.build)
    return Exported(folder, content, _only_test(measured) if looks else None)


def _evaluate(
    study: Study,
    spec: ResolvedSpec,
    trial: Trial,
    settings: Settings,
    options: BundleOptions,
    aside: Path,
    weights: Path,
    *,
    looks: bool,
) -> Evaluated:
    """Measure the copied weights, and write what predictions need into the folder."""
    assert spec.data is not None
    request = Evaluate(
        family=spec.family,
        params=spec.space.complete(trial.params),
        data=spec.data,
        fingerprint=study.data_fingerprint,
        cache=settings.data_cache,
        metric=spec.objective.metric,
        weights=aside / artifacts.WEIGHTS_FILE,
        parts=["validation", "test"] if looks else ["validation"],
        bundle=aside,
        onnx=options.onnx,
    )
    return evaluation.evaluate(request, named=weights)


def _only_test(measured: Evaluation) -> Evaluation:
    return Evaluation(
        {"test": measured.metrics["test"]},
        {part: i for part, i in measured.intervals.items() if part == "test"},
    )


def _with_test(measured: Evaluation, test: Evaluation) -> Evaluation:
    return replace(
        measured,
        metrics={**measured.metrics, **test.metrics},
        intervals={**measured.intervals, **test.intervals},
    )


def _write(
    content: dict[str, Any],
    study: Study,
    spec: ResolvedSpec,
    trial: Trial,
    options: BundleOptions,
    folder: Path,
    *,
    build: str | None = None,
) -> None:
    if options.confirmed is not None:
        content["metric"]["confirmed"] = dict(options.confirmed)
    if options.notes:
        content["notes"] = list(options.notes)
    params = content["params"]
    checkpoint = f"./{BUNDLED}" if (folder / BUNDLED).is_dir() else None
    texts = {
        RESULT: json.dumps(content, indent=2) + "\n",
        CONFIG: result.yaml_text(params),
        STUDY_FILE: result.yaml_text(result.reproducing(study, spec, trial, checkpoint=checkpoint)),
        "card.md": card.text(study, spec, trial, content, options.trials, options.importances),
        "lock.txt": result.lock(),
        **{name: form(params) for name, form in (FORMATS[f] for f in options.formats)},
    }
    if (predictor := registry.card(spec.family).predictor_module) is not None:
        texts[PREDICT] = predict_program(registry.card(spec.family), predictor, build)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    manifest.write(folder)


def is_export_of(folder: Path, study: str) -> bool:
    """Whether the folder is an earlier export of the study of this name, and nothing more."""
    try:
        content = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        return bool(content["study"] == study) and manifest.holds_nothing_else(folder)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False


def refuse_taken(folder: Path, *, force: bool, several: bool = False) -> None:
    """BadInputError if the folder must not be replaced: `--force` is not `rm -r`.

    `several`: an earlier export is a folder of bundles.
    """
    if not os.path.lexists(folder):
        return
    if not force:
        raise BadInputError(
            f"{shown(folder)}: exists already; name another folder with `--to`, or replace an "
            "earlier export with `--force`"
        )
    holds_exports = manifest.holds_bundles_alone if several else manifest.holds_nothing_else
    if folder.is_dir() and any(folder.iterdir()) and not holds_exports(folder):
        raise BadInputError(
            f"{shown(folder)}: holds more than an export and is not replaced; name another folder "
            "with `--to`"
        )


def _check_onnx(card: Card) -> None:
    """BadInputError if the family has no ONNX form, or this installation cannot write it."""
    if card.no_onnx is not None:
        able = ", ".join(n for n in registry.names() if registry.card(n).no_onnx is None)
        raise BadInputError(
            f"--onnx: the family {card.name} has no ONNX form: {card.no_onnx}; {able} have one"
        )
    missing = [name for name in ONNX_PACKAGES if find_spec(name) is None]
    if missing:
        raise BadInputError(
            f"--onnx: {' and '.join(missing)} {'are' if missing[1:] else 'is'} not installed; "
            "install them with: pip install 'tuner[onnx]'"
        )


def _opened(weights: Path, trial: Trial) -> BinaryIO:
    try:
        return weights.open("rb")
    except FileNotFoundError:
        if trial.ran_in_optuna:
            raise NothingToExportError(
                f"trial {trial.number} was run through Optuna, so tuner has no weights of it: "
                "export a trial that a worker has trained, with `--trial`"
            ) from None
        raise NothingToExportError(
            f"the weights of trial {trial.number} are not in {shown(weights.parent)}: it was "
            f"trained by {trial.worker or 'another worker'}; export there, or share TUNER_HOME. "
            f"A worker keeps the weights of the best {artifacts.KEEP} trials of each study"
        ) from None
    except OSError as error:
        raise NothingToExportError(
            f"{shown(weights)}: cannot be read ({error.strerror or error})"
        ) from error
