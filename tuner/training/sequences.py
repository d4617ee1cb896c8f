"""Metrics of predicted token sequences against their references."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import zip_longest

import torch
from torch import Tensor

from tuner.training import bootstrap

Tokens = Sequence[int]


def edit_distance(a: Tokens, b: Tokens) -> int:
    """Count the insertions, deletions and substitutions from `a` to `b` (Levenshtein, 1966)."""
    previous = list(range(len(b) + 1))
    for row, left in enumerate(a, start=1):
        current = [row]
        for column, right in enumerate(b, start=1):
            substitution = previous[column - 1] + (left != right)
            current.append(min(previous[column] + 1, current[-1] + 1, substitution))
        previous = current
    return previous[-1]


def errors(
    predictions: Sequence[Tokens], references: Sequence[Sequence[Tokens]]
) -> dict[str, float]:
    """Compare each prediction with the nearest of its references.

    `exact_match` is the share of predictions equal to a reference, `edit_distance` the mean number
    of edits per sequence, and `token_error_rate` all edits over all reference tokens, as in speech
    recognition; it can exceed 1.
    """
    return _errors(nearest(predictions, references))


def nearest(
    predictions: Sequence[Tokens], references: Sequence[Sequence[Tokens]]
) -> list[tuple[int, int]]:
    """Return for each prediction the edits to its nearest reference, and the latter's length."""
    return [
        min(
            (0 if prediction == reference else edit_distance(prediction, reference), len(reference))
            for reference in alternatives
        )
        for prediction, alternatives in zip(predictions, references, strict=True)
    ]


def _errors(distances: Sequence[tuple[int, int]]) -> dict[str, float]:
    edits = [edit for edit, _ in distances]
    tokens = sum(length for _, length in distances)
    return {
        "exact_match": sum(edit == 0 for edit in edits) / len(edits),
        "edit_distance": sum(edits) / len(edits),
        "token_error_rate": sum(edits) / max(tokens, 1),
    }


def translation(
    predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Compute BLEU (Papineni et al., 2002) and chrF (Popović, 2015), 0 … 100.

    Returns nothing where sacrebleu is not installed.
    """
    if find_spec("sacrebleu") is None:
        return {}
    import sacrebleu

    streams = list(zip_longest(*references))  # None where a text has fewer
    return {
        "bleu": float(sacrebleu.corpus_bleu(predictions, streams).score),
        "chrf": float(sacrebleu.corpus_chrf(predictions, streams).score),
    }


@dataclass(frozen=True, slots=True)
class SequenceScores:
    """Predictions for a part beside their references; every field has an entry per example."""

    nearest: Sequence[tuple[int, int]]  # as `nearest` returns them
    losses: Sequence[float]  # summed over the right tokens, in nats
    tokens: Sequence[int]  # the number of right tokens
    predictions: Sequence[str]
    references: Sequence[Sequence[str]]

    def metrics(self) -> dict[str, float]:
        """Compute all metrics; `log_loss` is in nats per token."""
        log_loss = sum(self.losses) / sum(self.tokens)
        return {
            **_errors(self.nearest),
            "log_loss": log_loss,
            "perplexity": _perplexity(log_loss),
            **translation(self.predictions, self.references),
        }

    def interval(self, name: str) -> list[float]:
        """Compute the 95 % interval of a metric, resampling the examples."""
        if name in ("bleu", "chrf"):
            return _translation_interval(name, self.predictions, self.references)
        edits, lengths = torch.tensor(self.nearest, dtype=torch.float64).T
        losses = torch.tensor(self.losses, dtype=torch.float64)
        tokens = torch.tensor(self.tokens, dtype=torch.float64)
        if name == "exact_match":
            return bootstrap.interval_of_mean(edits == 0)
        if name == "edit_distance":
            return bootstrap.interval_of_mean(edits)
        if name == "token_error_rate":
            return _ratio_interval(edits, lengths.clamp(min=1e-9))
        low, high = _ratio_interval(losses, tokens)
        return [low, high] if name == "log_loss" else [_perplexity(low), _perplexity(high)]


def _perplexity(log_loss: float) -> float:
    return math.exp(min(log_loss, 700.0))


def _ratio_interval(numerators: Tensor, denominators: Tensor) -> list[float]:
    def ratio(rows: Tensor) -> float:
        return float(numerators[rows].sum() / denominators[rows].sum())

    return bootstrap.interval(len(numerators), ratio)


def _translation_interval(
    name: str, predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> list[float]:
    """Use sacrebleu's own bootstrap (Koehn, 2004), which resamples the counts, not the texts."""
    import sacrebleu

    metric = sacrebleu.BLEU() if name == "bleu" else sacrebleu.CHRF()
    streams = list(zip_longest(*references))
    score = metric.corpus_score(predictions, streams, n_bootstrap=bootstrap.MAX_RESAMPLES)
    report = json.loads(score.format(width=8, is_json=True, signature=f"metric:{name}"))
    mean, half_width = report.get("confidence_mean", 0.0), report.get("confidence_var", 0.0)
    return [mean - half_width, mean + half_width]
