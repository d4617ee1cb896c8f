"""Metrics of sequences of tokens against what they should be."""

from collections.abc import Sequence
from importlib.util import find_spec

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


def errors(found: Sequence[Tokens], wanted: Sequence[Tokens]) -> dict[str, float]:
    """How far sequences are from what they should be.

    `exact_match`: the share that is right as a whole; `edit_distance`: edits of a sequence, the
    mean; `token_error_rate`: all edits by all wanted tokens, as in speech recognition; it can be
    above 1.
    """
    edits = [0 if a == b else edit_distance(a, b) for a, b in zip(found, wanted, strict=True)]
    tokens = sum(map(len, wanted))
    return {
        "exact_match": sum(edit == 0 for edit in edits) / len(edits),
        "edit_distance": sum(edits) / len(edits),
        "token_error_rate": sum(edits) / max(tokens, 1),
    }


def translation(found: Sequence[str], wanted: Sequence[str]) -> dict[str, float]:
    """BLEU (Papineni et al., 2002) and chrF (Popović, 2015), 0 … 100; nothing without sacrebleu."""
    if find_spec("sacrebleu") is None:
        return {}
    import sacrebleu

    return {
        "bleu": float(sacrebleu.corpus_bleu(found, [wanted]).score),
        "chrf": float(sacrebleu.corpus_chrf(found, [wanted]).score),
    }
