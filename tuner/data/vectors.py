"""Files of word vectors: the text formats of word2vec and GloVe, and word2vec's binary format.

    .txt, .vec …   a line `word 0.1 -0.2 …` per word; word2vec's has a first line `words dimension`
    .bin           that first line, then for each word its name, a space and float32 numbers

Any of them may be compressed with gzip (`.txt.gz`). gensim's own `.kv` files are pickles: opening
one runs whatever code its author put there, so they are refused.
"""

import gzip
import io
import itertools
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from tuner.data import source_files, tokenizer
from tuner.errors import DataError
from tuner.files import shown
from tuner.study_file.messages import quoted

LARGEST = 10_000  # dimensions
BLOCK = 1 << 20  # bytes read at a time

_HEADER = re.compile(rb"[0-9]{1,12} [0-9]{1,6}\s*")
# position for messages (`line 7`), word, numbers: as text or as they are
_Entry = tuple[str, bytes, bytes | npt.NDArray[np.float32]]

_CONVERT = (
    "which runs code when it is opened; if you trust it, convert it once with gensim: "
    "KeyedVectors.load(path).save_word2vec_format('vectors.txt')"
)


def pack_words(words: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Pack the words of vectors into an array, to be stored beside them as weights.

    UTF-8, one per line: no word holds white space.
    """
    return np.frombuffer("\n".join(words).encode(), dtype=np.uint8).copy()


def unpack_words(array: npt.NDArray[np.uint8]) -> list[str]:
    """Unpack what `pack_words` has packed."""
    return bytes(array).decode().split("\n")


def load_vectors(path: Path) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Load words and vectors of a trial's weights.

    Raises SafetensorError or KeyError if the file is damaged or holds no vectors.
    """
    arrays = safetensors.numpy.load_file(path)
    return unpack_words(arrays["words"]), arrays["vectors"]


def to_binary(words: Sequence[str], vectors: npt.NDArray[np.float32]) -> bytes:
    """Return the content of a file in word2vec's binary format."""
    rows = zip(words, np.ascontiguousarray(vectors, dtype="<f4"), strict=True)
    head = f"{len(words)} {vectors.shape[1]}\n".encode()
    return head + b"".join(b"%s %s\n" % (word.encode(), row.tobytes()) for word, row in rows)


def read(path: Path, vocabulary: Sequence[str]) -> tuple[npt.NDArray[np.float32], int]:
    """Read the vectors of a vocabulary, float32 [len(vocabulary), dimension].

    Words must match exactly, including case; if a word occurs twice, the first one counts. Other
    words are skipped, so a large file costs time but no memory. DataError if the file is damaged, a
    pickle, or has none of the words. Also returns the number of words without a vector; their rows
    are NaN.
    """
    where = shown(path)
    with source_files.open_file(path) as compressed, source_files.reading(path):
        head = compressed.peek(2)
        if head[:2] == b"\x1f\x8b":
            file: io.BufferedReader = cast(io.BufferedReader, gzip.GzipFile(fileobj=compressed))
        else:
            file = compressed
        try:
            return _read_vectors(file, path, where, vocabulary)
        except (gzip.BadGzipFile, EOFError, zlib.error):
            raise DataError(f"{where}: is damaged: it cannot be decompressed") from None


def _read_vectors(
    file: io.BufferedReader, path: Path, where: str, vocabulary: Sequence[str]
) -> tuple[npt.NDArray[np.float32], int]:
    head = file.peek(2)
    if not head:
        raise DataError(f"{where}: is empty")
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if head[:1] == b"\x80" or ".kv" in suffixes:
        raise DataError(f"{where}: is a pickle written by gensim, {_CONVERT}")
    dimension, entries = (_parse_binary if ".bin" in suffixes else _parse_text)(file, where)
    missing = {
        word.encode(): row for row, word in enumerate(vocabulary) if row >= tokenizer.SPECIAL
    }
    total = len(missing)
    vectors = np.full((len(vocabulary), dimension), np.nan, dtype=np.float32)
    for at, word, numbers in entries:
        row = missing.get(word)
        if row is None:
            continue
        if isinstance(numbers, bytes) and len(numbers.split()) > dimension:
            continue  # some words of GloVe hold spaces; this one only starts like ours
        vector = _parse_vector(numbers)
        if vector is None or len(vector) != dimension or not np.isfinite(vector).all():
            raise DataError(
                f"{where}, {at}: the vector of {quoted(word.decode())} must be "
                f"{dimension} finite numbers"
            )
        vectors[row] = vector
        del missing[word]
    if len(missing) == total:
        raise DataError(
            f"{where}: has vectors for none of the {total:,} words of the vocabulary; check that "
            "its language and case (`lowercase`) are those of the data"
        )
    return vectors, len(missing)


def _parse_vector(numbers: bytes | npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
    if not isinstance(numbers, bytes):
        return numbers
    try:
        with np.errstate(over="ignore"):
            return np.array([float(number) for number in numbers.split()]).astype(np.float32)
    except ValueError:
        return None


def _parse_text(file: io.BufferedReader, where: str) -> tuple[int, Iterator[_Entry]]:
    first = file.readline()
    if _HEADER.fullmatch(first):
        count, dimension = map(int, first.split())
        lines = itertools.chain(file)
        headers = 1  # lines
    else:
        count, dimension = None, len(first.split()) - 1
        if dimension < 1 or _parse_vector(first.partition(b" ")[2]) is None:
            raise DataError(
                f"{where}: is not a file of word vectors; each line must be a word and its "
                "numbers, separated by spaces"
            )
        lines = itertools.chain([first], file)
        headers = 0
    _check_dimension(dimension, where)

    def entries() -> Iterator[_Entry]:
        number = headers
        for number, line in enumerate(lines, start=headers + 1):
            word, _, numbers = line.partition(b" ")
            yield f"line {number}", word, numbers
        if count is not None and number - headers < count:
            raise DataError(_cut_off(where, count, number - headers))

    return dimension, entries()


def _parse_binary(file: io.BufferedReader, where: str) -> tuple[int, Iterator[_Entry]]:
    first = file.readline(64)
    if not _HEADER.fullmatch(first):
        raise DataError(
            f"{where}: is not a binary file of word2vec; its first line must be the number of "
            "words and the number of dimensions"
        )
    count, dimension = map(int, first.split())
    _check_dimension(dimension, where)
    width = 4 * dimension

    def entries() -> Iterator[_Entry]:
        buffer, start = b"", 0
        for number in range(1, count + 1):
            space = buffer.find(b" ", start)
            if space < 0 or space + 1 + width > len(buffer):
                buffer = buffer[start:] + file.read(max(BLOCK, 2 * width))
                start, space = 0, buffer.find(b" ")
            if space < 0 or space + 1 + width > len(buffer):
                raise DataError(_cut_off(where, count, number - 1))
            vector = np.frombuffer(buffer, dtype="<f4", count=dimension, offset=space + 1)
            yield f"word {number}", buffer[start:space].lstrip(b"\n"), vector
            start = space + 1 + width

    return dimension, entries()


def _check_dimension(dimension: int, where: str) -> None:
    if not 1 <= dimension <= LARGEST:
        raise DataError(
            f"{where}: declares vectors of {dimension:,} dimensions; allowed are 1 to {LARGEST:,}"
        )


def _cut_off(where: str, declared: int, actual: int) -> str:
    return f"{where}: declares {declared:,} words, but has {actual:,}; it is cut off or damaged"
