"""Check that a bundle is what it claims to be: its files, figures, training and predictions.

    files         equal to what the manifest says, to the last byte
    figures       the metric of the weights, measured again
    training      `reproduce.yaml` trained in a clean process, without a study or a database
    onnx          the outputs of `model.onnx`, if there is one, in onnxruntime and in torch
    predictions   those of `predict.py`, in a process without tuner, and those of tuner

On a CPU, with the same versions and one thread, training must reach exactly the same value. A
bundle that was trained elsewhere, or with other versions, passes within its metric's interval.
"""

import json
import math
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tuner import families, processes
from tuner.artifacts import WEIGHTS_FILE
from tuner.errors import BadInputError, ExecutorError, visible
from tuner.export import evaluation, manifest
from tuner.export.folder import ONNX_FILE, PREDICT, RESULT, STUDY_FILE
from tuner.export.result import versions
from tuner.families.bundle.requests import Evaluate, OnnxComparison, Retrain, Retrained, Sample
from tuner.files import shown
from tuner.settings import executor_environment
from tuner.study_file.load import load
from tuner.study_file.parameters import FixedParameter
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.seeds import trial_seed
from tuner.training.cohort import Cohort, Task

ATTEMPTS = 3  # at a training, as in a study
SAMPLE = 200  # rows of the validation part that predictions are compared on
TOLERANCE = 1e-4  # of probabilities, similarities, labels' deviations: sums differ with batches
FIGURES = 1e-6  # of a metric: the same weights on another machine


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check."""

    name: str
    passed: bool
    claimed: float | str | None
    found: float | str | None
    detail: str


def verify(
    bundle: Path,
    *,
    train: bool = True,
    predict: bool = False,
    allow_code: bool = False,
    overrides: Sequence[str] = (),
) -> Iterator[Check]:
    """The checks, each as soon as it is made.

    Training user code and predicting run programs that the bundle names or contains:
    `allow_code` allows the one, `predict` asks for the other.

    `overrides` change the study file, as where the data has moved to. BadInputError where the
    folder is no bundle, was changed, or where its data is not there.
    """
    manifest.check(bundle)
    count = len(manifest.read(bundle))
    yield Check("files", True, None, None, f"{count} files are as they were exported")
    try:
        claims: dict[str, Any] = json.loads((bundle / RESULT).read_text(encoding="utf-8"))
        claimed = _Claimed(bundle, claims, families.resolve(load(bundle / STUDY_FILE, overrides)))
    except (ValueError, KeyError, TypeError) as error:
        raise BadInputError(f"{shown(bundle)}: its {RESULT} cannot be read ({error})") from None
    if claimed.spec.code is not None and train and not allow_code:
        raise BadInputError(
            f"{shown(bundle)}: to train it again, code in {shown(claimed.spec.code.folder)} must "
            "run: add `--allow-code` to allow that, or `--no-train` to skip the training"
        )
    with tempfile.TemporaryDirectory(prefix="tuner-verify-") as work:
        folder = Path(work)
        if claimed.spec.data is not None:
            yield from claimed.figures(folder, predict=predict)
        elif predict:
            raise BadInputError(
                f"{shown(bundle)}: contains user code, which tuner cannot ask for predictions"
            )
        if train:
            yield claimed.training(folder)


class _Claimed:
    """A bundle, what it claims, and its study file."""

    def __init__(self, bundle: Path, claims: dict[str, Any], spec: ResolvedSpec) -> None:
        self.bundle = bundle
        self.spec = spec
        self._metric = claims["metric"]
        self._value: float = claims["metric"]["validation"]
        self._made_with = claims["versions"]
        self._study = claims["study"]
        self._device = str(claims["trained_on"].get("device", ""))
        self._fingerprint = (claims.get("data") or {}).get("fingerprint")
        self._onnx_difference = (claims.get("onnx") or {}).get("largest_difference")
        self._code = (claims.get("code") or {}).get("fingerprint")
        self._params = {
            name: parameter.value
            for name, parameter in spec.space.parameters.items()
            if isinstance(parameter, FixedParameter) and name in claims["params"]
        }

    def figures(self, work: Path, *, predict: bool) -> Iterator[Check]:
        """Check the metric of the weights and, if requested, the predictions of `predict.py`."""
        assert self.spec.data is not None
        served = self.bundle / ONNX_FILE
        if served.exists():
            _needs_onnxruntime(self.bundle)
        inputs = work / "inputs.csv"
        answer = evaluation.evaluate(
            Evaluate(
                family=self.spec.family,
                params=self._params,
                data=self.spec.data,
                fingerprint=self._fingerprint,
                cache=work / "cache",
                metric=self.spec.objective.metric,
                weights=self.bundle / WEIGHTS_FILE,
                parts=["validation"],
                served=served if served.exists() else None,
                sample=Sample(rows=SAMPLE, path=inputs) if predict else None,
            )
        )
        claimed = self._metric["validation_from_weights"]
        reproduced = answer.measured["validation"][self.spec.objective.metric]
        passed = math.isclose(claimed, reproduced, rel_tol=FIGURES, abs_tol=FIGURES)
        yield Check(
            "figures", passed, claimed, reproduced, "of the exported weights, measured again"
        )
        if answer.comparison is not None:
            yield self._onnx(answer.comparison)
        if predict:
            yield self._predictions(inputs, answer.predictions)

    def _onnx(self, comparison: OnnxComparison) -> Check:
        """Compare the outputs of `model.onnx` with those of torch."""
        claimed, difference = self._onnx_difference, comparison.largest_difference
        detail = (
            f"onnxruntime and torch say the same of all {comparison.examples} validation examples"
            if difference <= TOLERANCE
            else f"onnxruntime and torch differ by more than {TOLERANCE:g}"
        )
        detail += "; the largest difference:"
        return Check("onnx", difference <= TOLERANCE, claimed, difference, detail)

    def _predictions(self, inputs: Path, expected: Sequence[Mapping[str, Any]]) -> Check:
        process = subprocess.run(
            processes.script(self.bundle.absolute() / PREDICT, str(inputs)),
            capture_output=True,
            text=True,
            env=executor_environment(1, None),
            check=False,
        )
        if process.returncode != 0:
            lines = process.stderr.strip().splitlines() or ["?"]
            return Check("predictions", False, None, None, f"{PREDICT} failed: {lines[-1]}")
        predictions = [json.loads(line) for line in process.stdout.splitlines()]
        same = sum(map(alike, predictions, expected))
        rows = len(expected)
        detail = f"{same} of {rows} rows of the validation part are predicted alike"
        return Check("predictions", len(predictions) == rows == same, None, None, detail)

    def training(self, work: Path) -> Check:
        """Train the study file and compare the value that it reaches with the claimed one."""
        if self._code is not None and self.spec.code is not None:
            self.spec = self.spec.model_copy(
                update={"code": self.spec.code.model_copy(update={"fingerprint": self._code})}
            )
        answer = self._trained(work)
        if answer.problem is not None:
            return Check("training", False, self._value, None, visible(answer.problem))
        reproduced = answer.value
        assert reproduced is not None
        check = Check(
            "training",
            reproduced == self._value,
            self._value,
            reproduced,
            "equal, to the last digit",
        )
        if check.passed:
            return check
        other = self._what_differs()
        interval = self._metric.get("validation_interval")
        if interval is None:
            otherwise = "nothing else does"
            if self.spec.code is not None:
                otherwise = "does the code seed its random numbers, with the trial's seed?"
            why = f"differs; {other or otherwise}; there is no interval to compare with"
            return replace(check, detail=why)
        is_within = interval[0] <= reproduced <= interval[1]
        where = f"{'within' if is_within else 'outside of'} {interval[0]:.4g} … {interval[1]:.4g}"
        # with equal versions on a CPU nothing excuses a difference
        return replace(
            check,
            passed=is_within and other is not None,
            detail=f"{where}; {other or 'nothing explains it'}",
        )

    def _what_differs(self) -> str | None:
        """Return why training may reach another value here; None if nothing differs."""
        now = versions(self.spec.family)
        reasons = [
            f"{name} {was} → {now.get(name, 'none')}"
            for name, was in self._made_with.items()
            if name != "tuner" and now.get(name) != was
        ]
        if self._device and not self._device.lower().startswith("cpu"):
            reasons.append(f"it was trained on {self._device}")
        if (self.spec.resources.threads or 1) > 1:
            reasons.append("several threads sum up in any order")
        return ", ".join(reasons) or None

    def _trained(self, work: Path) -> Retrained:
        folders: list[Path] = []
        while True:
            cohort = self._cohort(work, work / f"attempt-{len(folders) + 1}", folders)
            process = subprocess.run(
                processes.command("tuner.families.bundle.retrain"),
                input=Retrain(cohort=cohort).dumps(),
                capture_output=True,
                text=True,
                errors="replace",
                env=executor_environment(cohort.threads, None),
                check=False,
            )
            if process.returncode == 0:
                return Retrained.loads(process.stdout)
            folders.append(cohort.tasks[0].folder)
            if len(folders) >= ATTEMPTS:  # code may end its process and go on from a checkpoint
                lines = process.stderr.strip().splitlines()
                ended = f"its process ended with code {process.returncode}"
                raise ExecutorError(f"{shown(self.bundle)}: {lines[-1] if lines else ended}")

    def _cohort(self, work: Path, folder: Path, earlier: Sequence[Path]) -> Cohort:
        """Return the one trial, to be trained in this folder after attempts in earlier ones."""
        spec = self.spec
        task = Task(
            number=0,
            attempt=len(earlier) + 1,
            params=self._params,
            seed=trial_seed(spec, 0),
            folder=folder,
            earlier=tuple(reversed(earlier)),
        )
        return Cohort(
            study=self._study,
            family=spec.family,
            data=None if spec.data is None else spec.data.model_dump(mode="json"),
            fingerprint=self._fingerprint or "",
            metric=spec.objective.metric,
            direction=spec.objective.direction,
            epochs=spec.budget.epochs or 0,
            early_stop=spec.training.early_stop,
            precision=spec.training.precision,
            device="cpu",
            threads=spec.resources.threads or 1,
            cache=work / "cache",
            tasks=(task,),
            code=spec.code,
            fidelities=spec.fidelities,
        )


def _needs_onnxruntime(bundle: Path) -> None:
    if find_spec("onnxruntime") is None:
        raise BadInputError(
            f"{shown(bundle)}: its {ONNX_FILE} is run by onnxruntime, which is not installed; "
            "install it with: pip install 'tuner[onnx]'"
        )


def alike(prediction: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """Whether two predictions are equal; classes with equal probabilities may change places."""
    if "nearest" in expected:
        return prediction["words"] == expected["words"] and _close(
            prediction["nearest"].values(), expected["nearest"].values()
        )
    if "spread" in expected:
        apart = abs(prediction["prediction"] - expected["prediction"])
        return bool(apart <= TOLERANCE * expected["spread"])
    if "probabilities" not in expected:
        return bool(prediction == expected)
    theirs = expected["probabilities"]
    mine = prediction["probabilities"]
    return _close(mine.values(), (theirs[name] for name in mine)) and (
        prediction["prediction"] == expected["prediction"]
        or abs(theirs[prediction["prediction"]] - theirs[expected["prediction"]]) < TOLERANCE
    )


def _close(a: Iterable[float], b: Iterable[float]) -> bool:
    pairs = list(zip(a, b, strict=True))
    return all(abs(x - y) < TOLERANCE for x, y in pairs)
