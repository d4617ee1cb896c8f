"""Texts → words → numbers.

A word is a run of letters, digits and underscores, with apostrophes inside it (`don't`, `l'été`);
every other character that is not white space is a word of its own (`!`, `€`). So a text
that is not blank has at least one word. Composed and decomposed accents are the same word.
"""

import re
import unicodedata
from collections.abc import Mapping

from tuner.errors import DataError

PADDING, UNKNOWN = 0, 1
NAMES = ("<padding>", "<unknown>")  # no word looks like this: `<` is a word of its own
SPECIAL = len(NAMES)

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


def tokens(text: str, *, lowercase: bool) -> list[str]:
    """The words of a text in order."""
    text = unicodedata.normalize("NFC", text)
    return _WORD.findall(text.lower() if lowercase else text)


def same_text(text: str) -> bytes:
    """Equal for texts that differ in case, white space or the writing of accents alone."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split()).encode()


def vocabulary(counts: Mapping[str, int], *, most: int, min_count: int) -> tuple[str, ...]:
    """Padding, unknown, and the `most` most frequent words; equally frequent ones by the alphabet.

    Words that occur less than `min_count` times are left out. DataError if none is left.
    """
    kept = [word for word, count in counts.items() if count >= min_count]
    if not kept:
        raise DataError(f"no word stands {min_count} times in the training part; lower `min_count`")
    kept.sort(key=lambda word: (-counts[word], word))
    return (*NAMES, *kept[:most])
