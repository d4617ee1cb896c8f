"""Metrics of sequences of tokens against what they should be."""

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
    """Insertions, deletions and substitutions that make one the other (Levenshtein, 1966)."""
    before = list(range(len(b) + 1))
    for row, left in enumerate(a, start=1):
        here = [row]
        for column, right in enumerate(b, start=1):
            here.append(min(before[column] + 1, here[-1] + 1, before[column - 1] + (left != right)))
        before = here
    return before[-1]


def errors(found: Sequence[Tokens], wanted: Sequence[Sequence[Tokens]]) -> dict[str, float]:
    """How far sequences are from what they should be: from the nearest of those that are right.

    `exact_match`: the share that is right as a whole; `edit_distance`: edits of a sequence, the
    mean; `token_error_rate`: all edits by all wanted tokens, as in speech recognition; it can be
    above 1.
    """
    return _errors(nearest(found, wanted))


def nearest(found: Sequence[Tokens], wanted: Sequence[Sequence[Tokens]]) -> list[tuple[int, int]]:
    """Of each sequence the edits to the nearest that is right, and the tokens of that one."""
    return [
        min((0 if said == right else edit_distance(said, right), len(right)) for right in rights)
        for said, rights in zip(found, wanted, strict=True)
    ]


def _errors(of: Sequence[tuple[int, int]]) -> dict[str, float]:
    edits = [edit for edit, _ in of]
    tokens = sum(length for _, length in of)
    return {
        "exact_match": sum(edit == 0 for edit in edits) / len(edits),
        "edit_distance": sum(edits) / len(edits),
        "token_error_rate": sum(edits) / max(tokens, 1),
    }


def translation(found: Sequence[str], wanted: Sequence[Sequence[str]]) -> dict[str, float]:
    """BLEU (Papineni et al., 2002) and chrF (Popović, 2015), 0 … 100; nothing without sacrebleu.

    Of each text all that is right is a reference.
    """
    if find_spec("sacrebleu") is None:
        return {}
    import sacrebleu

    references = list(zip_longest(*wanted))  # None where a text has fewer
    return {
        "bleu": float(sacrebleu.corpus_bleu(found, references).score),
        "chrf": float(sacrebleu.corpus_chrf(found, references).score),
    }


@dataclass(frozen=True, slots=True)
class Judged:
    """What was written for a part, an entry an example."""

    nearest: Sequence[tuple[int, int]]  # as of `nearest`
    losses: Sequence[float]  # of all right tokens together, in nats
    tokens: Sequence[int]  # how many these are
    said: Sequence[str]
    rights: Sequence[Sequence[str]]

    def metrics(self) -> dict[str, float]:
        """All of them; `log_loss` is in nats a token."""
        log_loss = sum(self.losses) / sum(self.tokens)
        return {
            **_errors(self.nearest),
            "log_loss": log_loss,
            "perplexity": _perplexity(log_loss),
            **translation(self.said, self.rights),
        }

    def interval(self, name: str) -> list[float]:
        """The 95 % interval of a metric, over the examples."""
        if name in ("bleu", "chrf"):
            return _of_translation(name, self.said, self.rights)
        edits, lengths = torch.tensor(self.nearest, dtype=torch.float64).T
        losses = torch.tensor(self.losses, dtype=torch.float64)
        tokens = torch.tensor(self.tokens, dtype=torch.float64)
        if name == "exact_match":
            return bootstrap.of_mean(edits == 0)
        if name == "edit_distance":
            return bootstrap.of_mean(edits)
        if name == "token_error_rate":
            return _of_ratio(edits, lengths.clamp(min=1e-9))
        low, high = _of_ratio(losses, tokens)
        return [low, high] if name == "log_loss" else [_perplexity(low), _perplexity(high)]


def _perplexity(log_loss: float) -> float:
    return math.exp(min(log_loss, 700.0))


def _of_ratio(above: Tensor, below: Tensor) -> list[float]:
    return bootstrap.interval(len(above), lambda rows: float(above[rows].sum() / below[rows].sum()))


def _of_translation(
    name: str, found: Sequence[str], wanted: Sequence[Sequence[str]]
) -> list[float]:
    """By sacrebleu's own bootstrap (Koehn, 2004), which resamples what it has counted."""
    import sacrebleu

    judge = sacrebleu.BLEU() if name == "bleu" else sacrebleu.CHRF()
    score = judge.corpus_score(found, list(zip_longest(*wanted)), n_bootstrap=bootstrap.MOST)
    told = json.loads(score.format(width=8, is_json=True, signature=f"metric:{name}"))
    middle, reach = told.get("confidence_mean", 0.0), told.get("confidence_var", 0.0)
    return [middle - reach, middle + reach]
