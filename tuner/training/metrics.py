"""Metrics of classification and regression, on any device, without importing scikit-learn."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from tuner.training import bootstrap


def classification(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Compute all metrics of logits [N, classes] against int64 labels [N]; N is at least 1.

    They are defined as in scikit-learn: `balanced_accuracy` is the mean recall of the classes that
    occur; the other means (`_macro`) are over classes that occur or are predicted; `f1_micro` pools
    all decisions, so it equals the accuracy if each example has one class. `log_loss` is in nats.
    """
    labels = labels.to(logits.device)  # those of a part too large for the device are in main memory
    return {
        **_confusion_metrics(_cells(logits, labels), logits.shape[1]),
        "roc_auc": roc_auc(logits, labels),
        "log_loss": log_loss(logits, labels),
    }


def class_accuracies(
    logits: Tensor, labels: Tensor, classes: Mapping[str, int]
) -> dict[str, float]:
    """Compute the share of each of these classes' examples that is classified right.

    `classes` maps the names of the metrics to classes; one without examples counts as 0.
    """
    labels = labels.to(logits.device)
    is_right = logits.argmax(dim=1) == labels
    shares = {name: is_right[labels == index].double() for name, index in classes.items()}
    return {name: float(right.mean()) if len(right) else 0.0 for name, right in shares.items()}


def _cells(logits: Tensor, labels: Tensor) -> Tensor:
    """The cell of the confusion matrix that each example counts in, row by row."""
    return labels * logits.shape[1] + logits.argmax(dim=1)


def _confusion_metrics(cells: Tensor, classes: int) -> dict[str, float]:
    """Compute the metrics that follow from the confusion matrix."""
    confusion = torch.bincount(cells, minlength=classes * classes)
    confusion = confusion.view(classes, classes).double().cpu()  # [actual, predicted]
    right = confusion.diagonal()
    actual, predicted = confusion.sum(dim=1), confusion.sum(dim=0)
    occurs, counts = actual > 0, (actual + predicted) > 0
    accuracy = float(right.sum() / confusion.sum())

    def macro(divisor: Tensor) -> float:
        """Average over classes; a class with a divisor of 0 counts as 0."""
        return float((right[counts] / divisor[counts].clamp(min=1)).mean())

    return {
        "accuracy": accuracy,
        "balanced_accuracy": float((right[occurs] / actual[occurs]).mean()),
        "f1_macro": macro((actual + predicted) / 2),
        "f1_micro": accuracy,
        "precision_macro": macro(predicted),
        "recall_macro": macro(actual),
    }


def log_loss(logits: Tensor, labels: Tensor) -> float:
    """Compute the mean cross-entropy, in nats."""
    return float(functional.cross_entropy(logits.float(), labels))


def interval(logits: Tensor, labels: Tensor, name: str) -> list[float]:
    """Compute the 95 % interval of a classification metric, by `bootstrap.interval`."""
    cells = _cells(logits, labels)
    metric_of_logits = {"roc_auc": roc_auc, "log_loss": log_loss}.get(name)

    def metric(rows: Tensor) -> float:
        if metric_of_logits is not None:
            return metric_of_logits(logits[rows], labels[rows])
        return _confusion_metrics(cells[rows], logits.shape[1])[name]

    return bootstrap.interval(len(labels), metric)


def roc_auc(logits: Tensor, labels: Tensor) -> float:
    """Compute how often an example of a class ranks above one of another class; ties count half.

    With two classes, examples rank by the log-odds of the second. With more, this is the mean of
    each class against the rest, over the classes that occur. 0.5 if only one class occurs.
    """
    log_probabilities = logits.double().log_softmax(dim=1)
    if logits.shape[1] > 2:
        scores = log_probabilities.T.contiguous()  # [classes, N]
    else:
        scores = (log_probabilities[:, 1] - log_probabilities[:, 0])[None]  # [1, N]
    classes = torch.arange(logits.shape[1], device=logits.device)[-len(scores) :, None]
    is_positive = labels[None] == classes
    ordered = scores.sort(dim=1).values
    below, upto = (torch.searchsorted(ordered, scores, right=right) for right in (False, True))
    ranks = (below + upto + 1) / 2  # from 1; ties get their mean rank
    positives = is_positive.sum(dim=1).double()
    pairs = positives * (len(labels) - positives)
    # the Mann-Whitney U statistic
    above = (ranks * is_positive).sum(dim=1) - positives * (positives + 1) / 2
    defined = pairs > 0
    return float((above[defined] / pairs[defined]).mean()) if defined.any() else 0.5


def regression(predictions: Tensor, labels: Tensor, spread: float) -> dict[str, float]:
    """Compute `rmse`, `mae` and `r2` of predictions [N] against labels [N]; N is at least 1.

    Both are in standard deviations of `spread` units each; rmse and mae are in units. They are
    defined as in scikit-learn, except that `r2` is 0 if all labels are equal.
    """
    labels = labels.to(predictions.device)
    predictions, labels = predictions.double(), labels.double()
    return {name: metric(predictions, labels, spread) for name, metric in _REGRESSION.items()}


def _rmse(predictions: Tensor, labels: Tensor, spread: float) -> float:
    return spread * float((predictions - labels).square().mean().sqrt())


def _mae(predictions: Tensor, labels: Tensor, spread: float) -> float:
    return spread * float((predictions - labels).abs().mean())


def _r2(predictions: Tensor, labels: Tensor, _: float) -> float:
    total = float((labels - labels.mean()).square().sum())
    residual = float((predictions - labels).square().sum())
    return 1.0 - residual / total if total > 0 else 0.0


_REGRESSION = {"rmse": _rmse, "mae": _mae, "r2": _r2}


def regression_interval(
    predictions: Tensor, labels: Tensor, name: str, spread: float
) -> list[float]:
    """Compute the 95 % interval of a regression metric, also by `bootstrap.interval`.

    An interval from the χ² distribution, which assumes normal errors, is too narrow where a few
    errors are large.
    """
    predictions, labels = predictions.double(), labels.double()

    def metric(rows: Tensor) -> float:
        return _REGRESSION[name](predictions[rows], labels[rows], spread)

    return bootstrap.interval(len(labels), metric)
