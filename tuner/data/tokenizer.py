"""Texts → tokens → numbers.

A word is a run of letters with their marks, digits and underscores, with apostrophes inside it
(`don't`, `l'été`, `हिन्दी`); every other character that is not white space is a word of its own,
whatever number of code points it takes (`!`, `€`, an emoji with its skin tone). Characters that
only steer the layout (soft hyphens, marks of direction) are left out. A text that is not blank has
at least one token. Composed and decomposed accents are the same token.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import partial

import regex

from tuner.errors import DataError
from tuner.study_file.data import DataSpec, Tokens

PADDING, UNKNOWN = 0, 1
NAMES = ("<padding>", "<unknown>")  # no word looks like this: `<` is a word of its own
SPECIAL = len(NAMES)

SPACE = "▁"  # white space among characters, as SentencePiece writes it: no token holds a blank

# `re` knows no marks and no grapheme clusters (UAX #29); its white space includes \x1c to \x1f
_WORD = regex.compile(r"[\w\p{N}]+(?:['’][\w\p{N}]+)*|(?![\s\x1c-\x1f])\X", regex.V1)
_CHARACTER = regex.compile(r"\X", regex.V1)
# soft hyphens, marks of direction, word joiners and byte order marks: UAX #29 ignores them too; a
# zero-width space separates words, as Khmer and Thai are often written
_LAYOUT: dict[int, str | None] = {
    **dict.fromkeys([0xAD, 0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x2070)]),
    0xFEFF: None,
    0x200B: " ",
}
# the same words of ASCII, where `re` is faster
_ASCII_WORD = re.compile(r"\w+(?:'\w+)*|[^\w\s]")

# most are letters of scripts that are written without blanks between words
_UNSPACED = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]"
)
_LETTER = regex.compile(r"\p{L}")
FEW = 1.5  # words of a text on average; of fewer, a model of words has hardly anything to learn

Tokenize = Callable[[str], list[str]]


def tokens(text: str, *, lowercase: bool, kind: Tokens = "words") -> list[str]:
    """The words or the characters of a text in order.

    Characters are grapheme clusters; white space between them is one `SPACE`.
    """
    text = unicodedata.normalize("NFC", text.lower() if lowercase else text)
    if not text.isascii():
        text = text.translate(_LAYOUT).strip() or text
    if kind == "characters":
        text = SPACE.join(text.split())
        return list(text) if text.isascii() else _CHARACTER.findall(text)
    return (_ASCII_WORD if text.isascii() else _WORD).findall(text)


def tokenizer(spec: DataSpec) -> Tokenize:
    """What cuts the texts of this data set into tokens."""
    return partial(tokens, lowercase=spec.lowercase, kind=spec.tokens)


def propose_characters(counts: Mapping[str, int], texts: int, spec: DataSpec) -> tuple[str, ...]:
    """A note where words tell little of the texts and characters would tell more.

    `counts` says how often each word occurs in the `texts` of the training part.
    """
    if spec.tokens == "characters":
        return ()
    words = letters = unspaced = 0
    for word, count in counts.items():
        in_word = len(_LETTER.findall(word))
        words += count * (in_word > 0)
        letters += count * in_word
        unspaced += count * len(_UNSPACED.findall(word))
    if unspaced * 2 > letters:
        why = "most letters of the texts are of a script without blanks between words"
    elif letters and words < FEW * texts:
        why = f"the texts hold hardly more than one word each ({words / texts:.1f} on average)"
    else:
        return ()
    return (f"{why}; `tokens: characters` in the data section reads them by character",)


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
