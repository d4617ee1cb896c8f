"""Metrics of classes and of numbers, on any device, without scikit-learn's start-up."""

import torch
from torch import Tensor
from torch.nn import functional

from tuner.training import bootstrap


def classification(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """All metrics of predictions [N, classes] against int64 labels [N]; N is at least 1.

    As scikit-learn defines them: `balanced_accuracy` is the mean recall of the classes that occur,
    the other means (`_macro`) are of those that occur or are predicted; `f1_micro` pools all
    decisions, which makes it the accuracy where each example has one class. `log_loss` is in nats.
    """
    labels = labels.to(logits.device)  # those of a part that is too large for it are in memory
    return {
        **_of_decisions(_cells(logits, labels), logits.shape[1]),
        "roc_auc": roc_auc(logits, labels),
        "log_loss": log_loss(logits, labels),
    }


def _cells(logits: Tensor, labels: Tensor) -> Tensor:
    """Where each example stands in the confusion matrix, row after row."""
    return labels * logits.shape[1] + logits.argmax(dim=1)


def _of_decisions(cells: Tensor, classes: int) -> dict[str, float]:
    """The metrics that count decisions."""
    confusion = torch.bincount(cells, minlength=classes * classes)
    confusion = confusion.view(classes, classes).double().cpu()
    right = confusion.diagonal()
    actual, guessed = confusion.sum(dim=1), confusion.sum(dim=0)
    occurs, counted = actual > 0, (actual + guessed) > 0
    accuracy = float(right.sum() / confusion.sum())

    def macro(divisor: Tensor) -> float:
        """The mean over classes; 0 for one without what is divided by."""
        return float((right[counted] / divisor[counted].clamp(min=1)).mean())

    return {
        "accuracy": accuracy,
        "balanced_accuracy": float((right[occurs] / actual[occurs]).mean()),
        "f1_macro": macro((actual + guessed) / 2),
        "f1_micro": accuracy,
        "precision_macro": macro(guessed),
        "recall_macro": macro(actual),
    }


def log_loss(logits: Tensor, labels: Tensor) -> float:
    """The mean cross-entropy, in nats."""
    return float(functional.cross_entropy(logits.float(), labels))


def interval(logits: Tensor, labels: Tensor, name: str) -> list[float]:
    """The 95 % interval of a metric, by `bootstrap.interval`."""
    cells, alone = _cells(logits, labels), {"roc_auc": roc_auc, "log_loss": log_loss}.get(name)

    def value(rows: Tensor) -> float:
        if alone is not None:
            return alone(logits[rows], labels[rows])
        return _of_decisions(cells[rows], logits.shape[1])[name]

    return bootstrap.interval(len(labels), value)


def roc_auc(logits: Tensor, labels: Tensor) -> float:
    """How often an example of a class is ranked above one of another class, ties counting half.

    With two classes, by the odds of the second; with more, the mean over the classes that occur of
    each against the rest, by its probability. 0.5 where only one class occurs.
    """
    odds = logits.double().log_softmax(dim=1)
    columns = odds.T.contiguous() if logits.shape[1] > 2 else (odds[:, 1] - odds[:, 0])[None]
    classes = torch.arange(logits.shape[1], device=logits.device)[-len(columns) :, None]
    of_class = labels[None] == classes
    ordered = columns.sort(dim=1).values
    below, upto = (torch.searchsorted(ordered, columns, right=right) for right in (False, True))
    ranks = (below + upto + 1) / 2  # the mean rank of equal ones, from 1
    inside = of_class.sum(dim=1).double()
    pairs = inside * (len(labels) - inside)
    above = (ranks * of_class).sum(dim=1) - inside * (inside + 1) / 2
    judged = pairs > 0
    return float((above[judged] / pairs[judged]).mean()) if judged.any() else 0.5


def regression(predicted: Tensor, labels: Tensor, spread: float) -> dict[str, float]:
    """`rmse`, `mae` and `r2` of numbers [N] against those that are right; N is at least 1.

    Both are in standard deviations, each of `spread` units; rmse and mae are in units. As
    scikit-learn defines them, but that `r2` is 0 where all labels are the same.
    """
    labels = labels.to(predicted.device)
    found, right = predicted.double(), labels.double()
    return {name: measure(found, right, spread) for name, measure in _OF_NUMBERS.items()}


def _rmse(found: Tensor, right: Tensor, spread: float) -> float:
    return spread * float((found - right).square().mean().sqrt())


def _mae(found: Tensor, right: Tensor, spread: float) -> float:
    return spread * float((found - right).abs().mean())


def _r2(found: Tensor, right: Tensor, _: float) -> float:
    all_ = float((right - right.mean()).square().sum())
    return 1.0 - float((found - right).square().sum()) / all_ if all_ > 0 else 0.0


_OF_NUMBERS = {"rmse": _rmse, "mae": _mae, "r2": _r2}


def interval_of_numbers(predicted: Tensor, labels: Tensor, name: str, spread: float) -> list[float]:
    """The 95 % interval of one of these metrics, by `bootstrap.interval` too.

    That of a normal distribution's deviation (χ²) is too narrow where a few errors are large.
    """
    found, right = predicted.double(), labels.double()

    def value(rows: Tensor) -> float:
        return _OF_NUMBERS[name](found[rows], right[rows], spread)

    return bootstrap.interval(len(labels), value)
