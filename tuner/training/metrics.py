"""Classification metrics from logits and labels, on any device, without scikit-learn's start-up."""

import torch
from torch import Tensor
from torch.nn import functional


def classification(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """All metrics of predictions [N, classes] against int64 labels [N]; N is at least 1.

    `balanced_accuracy` is the mean recall of the classes that occur; `f1_macro` the mean F1 of the
    classes that occur or are predicted (both as scikit-learn defines them); `log_loss` is in nats.
    """
    classes = logits.shape[1]
    labels = labels.to(logits.device)  # those of a part that is too large for it are in memory
    predicted = logits.argmax(dim=1)
    confusion = torch.bincount(labels * classes + predicted, minlength=classes * classes)
    confusion = confusion.view(classes, classes).double().cpu()
    right = confusion.diagonal()
    actual, guessed = confusion.sum(dim=1), confusion.sum(dim=0)
    occurs, counted = actual > 0, (actual + guessed) > 0
    f1 = 2 * right[counted] / (actual + guessed)[counted]
    return {
        "accuracy": float(right.sum() / confusion.sum()),
        "balanced_accuracy": float((right[occurs] / actual[occurs]).mean()),
        "f1_macro": float(f1.mean()),
        "log_loss": float(functional.cross_entropy(logits.float(), labels)),
    }
