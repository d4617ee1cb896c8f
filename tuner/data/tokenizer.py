"""Texts → tokens → numbers.

A word is a run of letters with their marks, digits and underscores, with apostrophes inside it
(`don't`, `l'été`, `हिन्दी`). Every other character that is not white space is a word by itself,
however many code points it takes (`!`, `€`, an emoji with its skin tone). Characters that only
control the layout (soft hyphens, direction marks) are dropped. A text that is not blank has at
least one token. Composed and decomposed accents are the same token.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import partial

import regex

from tuner.errors import DataError
from tuner.study_file.data import DataSpec, Tokens

PADDING, UNKNOWN = 0, 1
NAMES = ("<padding>", "<unknown>")  # no word looks like this: `<` is a word by itself
SPECIAL = len(NAMES)

SPACE = "▁"  # white space between characters, as in SentencePiece: no token holds a blank

# `re` knows no marks and no grapheme clusters (UAX #29); its white space includes \x1c to \x1f
_WORD = regex.compile(r"[\w\p{N}]+(?:['’][\w\p{N}]+)*|(?![\s\x1c-\x1f])\X", regex.V1)
_CHARACTER = regex.compile(r"\X", regex.V1)
# soft hyphens, direction marks, word joiners and byte order marks: UAX #29 ignores them too; a
# zero-width space separates words, as often in Khmer and Thai
_LAYOUT: dict[int, str | None] = {
    **dict.fromkeys([0xAD, 0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x2070)]),
    0xFEFF: None,
    0x200B: " ",
}
# the same words of ASCII, where `re` is faster
_ASCII_WORD = re.compile(r"\w+(?:'\w+)*|[^\w\s]")

# scripts that are mostly written without blanks between words
_UNSPACED = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]"
)
_LETTER = regex.compile(r"\p{L}")
FEW = 1.5  # words per text on average; with fewer, a model of words has hardly anything to learn

Tokenize = Callable[[str], list[str]]


def tokenize(text: str, *, lowercase: bool, kind: Tokens = "words") -> list[str]:
    """Split a text into its words or characters, in order.

    Characters are grapheme clusters; white space between them becomes one `SPACE`.
    """
    text = unicodedata.normalize("NFC", text.lower() if lowercase else text)
    if not text.isascii():
        text = text.translate(_LAYOUT).strip() or text
    if kind == "characters":
        text = SPACE.join(text.split())
        return list(text) if text.isascii() else _CHARACTER.findall(text)
    return (_ASCII_WORD if text.isascii() else _WORD).findall(text)


def make_tokenizer(spec: DataSpec) -> Tokenize:
    """Return the function that splits this data set's texts into tokens."""
    return partial(tokenize, lowercase=spec.lowercase, kind=spec.tokens)


def propose_characters(counts: Mapping[str, int], texts: int, spec: DataSpec) -> tuple[str, ...]:
    """Suggest `tokens: characters` where words say little about the texts; else return nothing.

    `counts` holds how often each word occurs in the training part, which has `texts` texts.
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


def normalize_text(text: str) -> bytes:
    """Return the same bytes for texts that differ only in case, white space or accent encoding."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split()).encode()


def build_vocabulary(counts: Mapping[str, int], *, size: int, min_count: int) -> tuple[str, ...]:
    """Return padding, unknown, and the `size` most frequent words; ties in alphabetical order.

    Words that occur fewer than `min_count` times are left out. DataError if none remains.
    """
    words = [word for word, count in counts.items() if count >= min_count]
    if not words:
        raise DataError(
            f"no word occurs at least {min_count} times in the training part; lower `min_count`"
        )
    words.sort(key=lambda word: (-counts[word], word))
    return (*NAMES, *words[:size])
