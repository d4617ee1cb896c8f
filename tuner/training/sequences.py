"""Metrics of sequences of tokens against what they should be."""

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import zip_longest

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
    nearest = [
        min((0 if said == right else edit_distance(said, right), len(right)) for right in rights)
        for said, rights in zip(found, wanted, strict=True)
    ]
    edits = [edit for edit, _ in nearest]
    tokens = sum(length for _, length in nearest)
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
