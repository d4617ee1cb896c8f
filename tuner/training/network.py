"""The learner of all torch families: a network, its optimizer and its random state."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuner.data.prepared import PartName, PreparedData
from tuner.study_file.study import CLASS_ACCURACY
from tuner.training import checkpoints, footprint, metrics, optimizers, resident, schedules
from tuner.training.cohort import Cohort, Task
from tuner.training.member import DivergedError
from tuner.trials import LATENCY, PARAMETERS, ParamValue

SHARE_SEED = 0  # of which examples belong to a share
EVALUATION_BATCH = 1024  # rows; large, since evaluation needs no gradients

Build = Callable[[Mapping[str, ParamValue], PreparedData], nn.Module]


class Batches(Protocol):
    """A part of the data as a model takes it; `resident.Resident` is the usual one."""

    @property
    def labels(self) -> Tensor:
        """Classes int64 [N], numbers float32 [N], or token ids int64 [N, longest]."""
        ...

    def __len__(self) -> int: ...

    def batches(self, size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield indices in random order, `size` at a time."""
        ...

    def batch(self, indices: Tensor) -> tuple[Any, Tensor]:
        """Return the model's inputs and the labels of the rows at `indices`."""
        ...


class Scores(Protocol):
    """A trained model on a part of the data."""

    def metrics(self) -> dict[str, float]:
        """Return all metrics by name."""
        ...

    def interval(self, name: str) -> list[float]:
        """Return the 95 % interval of one of them: its lower and its upper end."""
        ...


class Objective(Protocol):
    """What a network is trained for, and how it is scored."""

    def answer(self, model: nn.Module, inputs: Any) -> object:
        """Return the model's answer to a batch in the form that its users need."""
        ...

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of a batch, which training minimizes."""
        ...

    def score(self, model: nn.Module, part: Batches, autocast: "Autocast" = nullcontext) -> Scores:
        """Apply the model to a part, for its metrics and their intervals."""
        ...

    def predictions(self, model: nn.Module, part: Batches, rows: int) -> list[dict[str, Any]]:
        """Return the predictions for the first rows of a part, as `predict.py` prints them."""
        ...

    def loss_in(self, measured: Mapping[str, float]) -> float:
        """Return the loss that these metrics imply, without what training adds to it."""
        ...


Autocast = Callable[[], torch.autocast | nullcontext[None]]
MakeObjective = Callable[[Mapping[str, ParamValue], PreparedData, torch.device], Objective]
Load = Callable[[Mapping[str, ParamValue], PreparedData, PartName, torch.device], Batches]
Upstream = Callable[[Mapping[str, ParamValue], PreparedData, torch.device], Mapping[str, float]]


def load_resident(
    _: Mapping[str, ParamValue], data: PreparedData, name: PartName, device: torch.device
) -> Batches:
    """Load a part as it was prepared, for any parameters of a trial."""
    return resident.load(data, name, device)


def nothing_upstream(
    _: Mapping[str, ParamValue], data: PreparedData, device: torch.device
) -> Mapping[str, float]:
    """Report no costs: the network reads the examples themselves."""
    return {}


def supervision(
    params: Mapping[str, ParamValue], data: PreparedData, device: torch.device
) -> Objective:
    """Return the usual objective: classification or regression, as the labels demand."""
    return (Classification if data.scale is None else Regression)(params, data, device)


class Classification:
    """Predict one of several classes."""

    def __init__(
        self, params: Mapping[str, ParamValue], data: PreparedData, device: torch.device
    ) -> None:
        self._classes = data.classes
        self._smoothing = float(params.get("label_smoothing") or 0.0)
        self._weights = _class_weights(params, data, device)

    def answer(self, model: nn.Module, inputs: Any) -> object:
        """Return logits [N, classes]."""
        return model(inputs)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of logits [N, classes] and labels [N]."""
        return functional.cross_entropy(
            outputs.float(), labels, weight=self._weights, label_smoothing=self._smoothing
        )

    def score(
        self, model: nn.Module, part: Batches, autocast: Autocast = nullcontext
    ) -> "ClassScores":
        """Score logits [N, classes]."""
        return ClassScores(predict(model, part, autocast), part.labels)

    def loss_in(self, measured: Mapping[str, float]) -> float:
        """Return the cross-entropy, without class weights and label smoothing."""
        return measured["log_loss"]

    def predictions(self, model: nn.Module, part: Batches, rows: int) -> list[dict[str, Any]]:
        """Return the most likely class of each example, and the probability of each class."""
        return [
            {
                "prediction": self._classes[max(range(len(row)), key=row.__getitem__)],
                "probabilities": dict(zip(self._classes, row, strict=True)),
            }
            for row in predict(model, part)[:rows].softmax(dim=1).tolist()
        ]


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Logits [N, classes] against labels [N]."""

    logits: Tensor
    labels: Tensor

    def metrics(self) -> dict[str, float]:
        """Compute the metrics of classification."""
        return metrics.classification(self.logits, self.labels)

    def interval(self, name: str) -> list[float]:
        """Compute the 95 % interval of one of them."""
        return metrics.interval(self.logits, self.labels, name)


class Regression:
    """Predict a number, learned in standard deviations from the mean."""

    def __init__(
        self, params: Mapping[str, ParamValue], data: PreparedData, device: torch.device
    ) -> None:
        assert data.scale is not None
        self._mean, self._spread = data.scale

    def answer(self, model: nn.Module, inputs: Any) -> object:
        """Return numbers [N, 1]."""
        return model(inputs)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean squared error, in squared standard deviations."""
        return functional.mse_loss(outputs.float().squeeze(1), labels)

    def score(
        self, model: nn.Module, part: Batches, autocast: Autocast = nullcontext
    ) -> "NumberScores":
        """Score numbers [N, 1]."""
        outputs = predict(model, part, autocast).squeeze(1)
        return NumberScores(outputs, part.labels, self._spread)

    def loss_in(self, measured: Mapping[str, float]) -> float:
        """Return the mean squared error, in squared standard deviations."""
        return (measured["rmse"] / self._spread) ** 2

    def predictions(self, model: nn.Module, part: Batches, rows: int) -> list[dict[str, Any]]:
        """Return numbers in the labels' own unit, and the labels' standard deviation."""
        outputs = predict(model, part)[:rows].squeeze(1).double()
        numbers = (self._mean + self._spread * outputs).tolist()
        return [{"prediction": number, "spread": self._spread} for number in numbers]


@dataclass(frozen=True, slots=True)
class NumberScores:
    """Numbers [N] against labels [N], both in standard deviations from the labels' mean."""

    outputs: Tensor
    labels: Tensor
    spread: float  # standard deviation of the labels, in their own unit

    def metrics(self) -> dict[str, float]:
        """Compute the metrics of regression, in the labels' own unit."""
        return metrics.regression(self.outputs, self.labels, self.spread)

    def interval(self, name: str) -> list[float]:
        """Compute the 95 % interval of one of them."""
        return metrics.regression_interval(self.outputs, self.labels, name, self.spread)


def _class_weights(
    params: Mapping[str, ParamValue], data: PreparedData, device: torch.device
) -> Tensor | None:
    """Weights float32 [classes] that give every class the same share of the loss, or None."""
    if params.get("class_weights") != "balanced":
        return None
    counts = torch.tensor([data.class_counts[name] for name in data.classes], device=device)
    return counts.sum() / (len(counts) * counts)


@dataclass(frozen=True, slots=True)
class Share:
    """Some rows of a part, with batches of their own."""

    part: Batches
    rows: Tensor  # int64 [N]

    @property
    def labels(self) -> Tensor:
        """Labels of the rows."""
        return self.part.labels[self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield places among the rows in random order, `size` at a time."""
        lengths = getattr(self.part, "lengths", None)
        if lengths is not None:
            lengths = lengths[self.rows.to(lengths.device)]
        return resident.shuffle(len(self), size, generator, lengths, self.rows.device)

    def batch(self, indices: Tensor) -> tuple[Any, Tensor]:
        """Return inputs and labels at these places."""
        return self.part.batch(self.rows[indices])


def take_share(part: Batches, share: float) -> Batches:
    """Return a share of a part's rows: the same in every trial, and within any larger share."""
    if share >= 1:
        return part
    order = torch.randperm(len(part), generator=torch.Generator().manual_seed(SHARE_SEED))
    rows = order[: max(1, round(share * len(part)))].sort().values
    return Share(part, rows.to(part.labels.device))


@torch.inference_mode()
def predict(
    model: nn.Module,
    part: Batches,
    autocast: Autocast = nullcontext,
) -> Tensor:
    """Apply a model to a part; returns its outputs float32 [N, …] in the part's order.

    Texts of similar length form a batch, so that little of it is padding. The model's
    `evaluation_batch`, if it has one, sets the number of rows per batch.
    """
    model.eval()
    size = getattr(model, "evaluation_batch", EVALUATION_BATCH)
    lengths = getattr(part, "lengths", None)
    order = torch.arange(len(part)) if lengths is None else lengths.argsort(stable=True)
    outputs = []
    for indices in order.to(part.labels.device).split(size):
        with autocast():
            outputs.append(model(part.batch(indices)[0]).float())
    return torch.cat(outputs)[order.argsort()]


class Network:
    """A trial's network in training; a `member.Learner`."""

    def __init__(
        self,
        task: Task,
        cohort: Cohort,
        data: PreparedData,
        device: torch.device,
        build: Build,
        load: Load,
        objective: MakeObjective = supervision,
        upstream: Upstream = nothing_upstream,
        share: float = 1.0,
    ) -> None:
        """Build the network.

        `upstream` returns the costs of making its inputs from an example, `share` is that of the
        training examples that it learns from.
        """
        self._epochs = cohort.epochs_of(task)
        self._precision = cohort.precision
        self._device = device
        self._params = task.params
        self._random_states: dict[str, Tensor] = {}
        self._train_part = take_share(load(task.params, data, "train", device), share)
        self._validation_part = load(task.params, data, "validation", device)
        self._shuffling = torch.Generator().manual_seed(task.seed)
        with self._randomness():
            torch.manual_seed(task.seed)
            self._model = build(task.params, data).to(device)
        if device.type == "cuda" and data.kind == "images":
            channels_last: Any = {"memory_format": torch.channels_last}  # torch's types lack it
            self._model = self._model.to(**channels_last)
        self._optimizer = optimizers.make(self._model, task.params)
        for group in self._optimizer.param_groups:
            group["base_lr"] = group["lr"]
        self._batch_size = int(task.params["batch_size"])  # type: ignore[arg-type]
        self._objective = objective(task.params, data, device)
        self._upstream = partial(upstream, task.params, data, device)
        self._clip_norm = float(task.params.get("clip_norm") or 0.0)
        self._bounded_classes = {
            name: data.classes.index(name.removeprefix(CLASS_ACCURACY))
            for name in cohort.others
            if name.startswith(CLASS_ACCURACY)
        }
        self._step = 0

    def epoch(self) -> dict[str, float]:
        """Train one epoch and measure the validation part; DivergedError if the loss diverges."""
        started = time.perf_counter()
        with self._randomness():
            train_loss = self._train_epoch(self._train_part)
        seconds = time.perf_counter() - started
        if not math.isfinite(train_loss):
            raise DivergedError(f"the training loss became {train_loss}")
        scores = self._objective.score(self._model, self._validation_part, self._autocast)
        measured = scores.metrics()
        if self._bounded_classes and isinstance(scores, ClassScores):
            measured |= metrics.class_accuracies(
                scores.logits, scores.labels, self._bounded_classes
            )
        return {
            "train_loss": train_loss,
            "validation_loss": self._objective.loss_in(measured),
            **measured,
            "samples_per_second": len(self._train_part) / seconds,
        }

    def costs(self) -> dict[str, float]:
        """Return the number of parameters, and the latency of single validation examples."""
        part = self._validation_part
        rows = torch.linspace(0, len(part) - 1, footprint.WARM + footprint.TIMED).long()
        examples = (part.batch(row.to(part.labels.device))[0] for row in rows.split(1))

        def answer(inputs: Any) -> None:
            with self._autocast():
                self._objective.answer(self._model, inputs)

        upstream = self._upstream()
        milliseconds = footprint.latency(self._model, answer, examples, self._device)
        return {
            PARAMETERS: footprint.parameters(self._model) + upstream.get(PARAMETERS, 0.0),
            LATENCY: milliseconds + upstream.get(LATENCY, 0.0),
        }

    def weights(self) -> Mapping[str, Tensor]:
        """Return the network's tensors."""
        state: dict[str, Tensor] = self._model.state_dict()
        return state

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the state of network, optimizer, random generators and data order."""
        optimizer_tensors, optimizer_values = checkpoints.optimizer_state(self._optimizer)
        tensors = {
            **checkpoints.with_prefix("model", self._model.state_dict()),
            **checkpoints.with_prefix("optimizer", optimizer_tensors),
            **checkpoints.with_prefix("random", self._random_states),
            "shuffling": self._shuffling.get_state(),
        }
        return tensors, {"step": self._step, "optimizer": optimizer_values}

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Restore what `state` has returned."""
        self._model.load_state_dict(checkpoints.without_prefix("model", tensors))
        checkpoints.restore_optimizer(
            self._optimizer, checkpoints.without_prefix("optimizer", tensors), values["optimizer"]
        )
        self._random_states = checkpoints.without_prefix("random", tensors)
        self._shuffling.set_state(tensors["shuffling"])
        self._step = values["step"]

    def _train_epoch(self, part: Batches) -> float:
        """Pass over the part once; returns the mean loss per example."""
        self._model.train()
        size, total = self._batch_size, len(part)
        steps = math.ceil(total / size)
        loss_sum = torch.zeros((), device=self._device)
        for indices in part.batches(size, self._shuffling):
            if len(indices) == 1 and total > 1:
                continue  # batch normalization needs the variance of several examples
            self._set_learning_rate(steps * self._epochs)
            inputs, labels = part.batch(indices)
            with self._autocast():
                outputs = self._model(inputs)
            loss = self._objective.loss(outputs, labels)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if self._clip_norm > 0:
                nn.utils.clip_grad_norm_(self._model.parameters(), self._clip_norm)
            self._optimizer.step()
            if (constrain := getattr(self._model, "constrain", None)) is not None:
                constrain()
            # summed on the device: reading it would wait for every step
            loss_sum += loss.detach() * len(indices)
        return float(loss_sum) / total

    def _set_learning_rate(self, total: int) -> None:
        schedule = str(self._params.get("schedule", "constant"))
        warmup = float(self._params.get("warmup") or 0.0)
        factor = schedules.factor(schedule, self._step, total, warmup)
        for group in self._optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        self._step += 1

    def _autocast(self) -> torch.autocast | nullcontext[None]:
        is_faster = self._device.type == "cuda" and torch.cuda.is_bf16_supported()
        if self._precision == "bfloat16" or (self._precision == "auto" and is_faster):
            return torch.autocast(self._device.type, torch.bfloat16)
        return nullcontext()

    @contextmanager
    def _randomness(self) -> Iterator[None]:
        """Use the trial's own random state for initialization and dropout inside the block."""
        if self._random_states:
            checkpoints.restore_random_states(self._random_states, self._device)
        yield
        self._random_states = checkpoints.random_states(self._device)
