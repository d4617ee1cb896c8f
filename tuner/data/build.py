"""Examples → the arrays of a cache entry, with statistics learned from the training part."""

import json
import math
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from tuner.data import corpus, pairs, split, tokenizer, vectors
from tuner.data.arrays import array_file
from tuner.data.examples import Examples, Images, Pairs, Texts
from tuner.data.fingerprint import renumbered
from tuner.data.prepared import PARTS, PartName, PreparedData
from tuner.data.sources.corpus import open_corpus
from tuner.data.sources.read import read
from tuner.data.split import Selection
from tuner.errors import DataError
from tuner.files import shown
from tuner.study_file.data import CORPORA, DataSpec
from tuner.study_file.messages import counted

LONGEST = 512  # tokens; the largest default of `max_length`
CHUNK = 1024  # images whose statistics are computed at once


def build(spec: DataSpec, folder: Path, fingerprint: str) -> PreparedData:
    """Read, split and prepare the data; writes the arrays into `folder`.

    DataError if the data is missing, unreadable or unfit; OSError if `folder` cannot be written.
    """
    if spec.source in CORPORA:
        return _build_corpus(spec, folder, fingerprint)
    sources = read(spec)
    selections = split.split(sources, spec.split)
    if isinstance(sources["train"], Pairs):
        fields = pairs.write(cast(Mapping[PartName, Selection[Pairs]], selections), spec, folder)
        return _describe(sources, selections, folder, fingerprint, fields)
    labels = (_write_numbers if spec.is_regression else _write_classes)(selections, folder)
    if isinstance(sources["train"], Texts):
        fields = _write_texts(cast(Mapping[PartName, Selection[Texts]], selections), spec, folder)
    else:
        fields = _write_images(cast(Mapping[PartName, Selection[Images]], selections), folder)
    return _describe(sources, selections, folder, fingerprint, {**fields, **labels})


def _describe(
    sources: Mapping[PartName, Examples],
    selections: Mapping[PartName, Selection[Examples]],
    folder: Path,
    fingerprint: str,
    fields: Mapping[str, Any],
) -> PreparedData:
    rest = {key: value for key, value in fields.items() if key != "notes"}
    return PreparedData(
        folder=folder,
        fingerprint=renumbered(fingerprint) if sources["train"].reordered else fingerprint,
        sizes={name: len(selections[name].rows) for name in PARTS},
        notes=(*_notes(sources), *split.note_copies(selections), *fields.get("notes", ())),
        **rest,
    )


def _build_corpus(spec: DataSpec, folder: Path, fingerprint: str) -> PreparedData:
    sentences = open_corpus(spec)
    parts = corpus.split_sentences(sentences.texts, spec)
    for name, part in parts.items():
        if not len(part):
            raise DataError(
                f"{shown(spec.path or Path(spec.source))}: has too few sentences to be split; "
                f"the {name} part would be empty"
            )
        for key, values in (("tokens", part.ids), ("ends", part.ends)):
            with array_file(folder / f"{name}.{key}.npy", values.dtype, values.shape) as file:
                file.write(values.data)
    train = parts["train"]
    counts = dict(zip(train.words, train.counts.tolist(), strict=True))
    return PreparedData(
        kind="corpus",
        folder=folder,
        fingerprint=fingerprint,
        classes=(),
        sizes={name: len(part) for name, part in parts.items()},
        vocabulary=tuple(train.words),
        notes=(*sentences.notes, *tokenizer.propose_characters(counts, len(train), spec)),
    )


def _notes(sources: Mapping[PartName, Examples]) -> Iterator[str]:
    for name, examples in sources.items():
        for note in examples.notes:
            yield f"{name} data: {note}" if len(sources) > 1 else note


def _write_texts(
    selections: Mapping[PartName, Selection[Texts]], spec: DataSpec, folder: Path
) -> dict[str, Any]:
    train = selections["train"]
    tokenize = tokenizer.make_tokenizer(spec)
    counts: Counter[str] = Counter()
    lengths = []
    for row in train.rows:
        tokens = tokenize(train.examples.texts[row])
        counts.update(tokens)
        lengths.append(len(tokens))
    vocabulary = tokenizer.build_vocabulary(counts, size=spec.vocabulary, min_count=spec.min_count)
    length = spec.max_length or _default_length(lengths)
    index = {token: number for number, token in enumerate(vocabulary)}
    for name, part in selections.items():
        texts = [part.examples.texts[row] for row in part.rows]
        with (folder / f"{name}.texts.jsonl").open("w", encoding="utf-8") as lines:
            lines.writelines(json.dumps(text) + "\n" for text in texts)
        with array_file(folder / f"{name}.inputs.npy", "<i4", (len(part.rows), length)) as file:
            for text in texts:
                file.write(_encode(tokenize(text), index, length))
    notes = [*tokenizer.propose_characters(counts, len(lengths), spec)]
    if spec.vectors is not None:
        matrix, missing = vectors.read(spec.vectors, vocabulary)
        with array_file(folder / "vectors.npy", "<f4", matrix.shape) as file:
            file.write(matrix.tobytes())
        words = len(vocabulary) - tokenizer.SPECIAL
        if missing:
            verb = "has" if missing == 1 else "have"
            notes.append(f"{missing:,} of the {words:,} words of the vocabulary {verb} no vector")
    return {
        "kind": "text",
        "input_shape": (length,),
        "vocabulary": vocabulary,
        "tokens": spec.tokens,
        "has_vectors": spec.vectors is not None,
        "notes": notes,
    }


def _default_length(lengths: Sequence[int]) -> int:
    """Return the number of tokens that 99 % of the texts need, from 2 to `LONGEST`."""
    position = math.ceil(0.99 * len(lengths)) - 1
    return min(max(sorted(lengths)[position], 2), LONGEST)


def _encode(tokens: Sequence[str], index: Mapping[str, int], length: int) -> bytes:
    ids = [index.get(token, tokenizer.UNKNOWN) for token in tokens[:length]]
    return array("i", ids + [tokenizer.PADDING] * (length - len(ids))).tobytes()


def _write_images(selections: Mapping[PartName, Selection[Images]], folder: Path) -> dict[str, Any]:
    train = selections["train"].examples
    for name, part in selections.items():
        images, shape = part.examples, (len(part.rows), *part.examples.shape)
        with array_file(folder / f"{name}.inputs.npy", images.dtype, shape) as file:
            for row in part.rows:
                file.write(np.ascontiguousarray(images.read(row)).tobytes())
    mean, std = _statistics(np.load(folder / "train.inputs.npy", mmap_mode="r"))
    return {"kind": "images", "input_shape": train.shape, "mean": mean, "std": std}


def _statistics(
    images: npt.NDArray[np.generic],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compute mean and standard deviation per channel of [N, C, H, W]; 1 for a constant channel.

    Chunks are merged by Chan's formula, since a sum of squares loses digits if the mean is large.
    """
    channels = images.shape[1]
    count = 0
    mean, squares = np.zeros(channels), np.zeros(channels)  # squared deviations from the mean
    low, high = np.full(channels, np.inf), np.full(channels, -np.inf)
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK].astype(np.float64)
        size = chunk.size // channels
        chunk_mean = chunk.mean(axis=(0, 2, 3))
        delta = chunk_mean - mean
        squares += chunk.var(axis=(0, 2, 3)) * size
        squares += delta**2 * (count * size / (count + size))
        mean += delta * (size / (count + size))
        count += size
        low = np.minimum(low, chunk.min(axis=(0, 2, 3)))
        high = np.maximum(high, chunk.max(axis=(0, 2, 3)))
    std = np.where(high > low, np.sqrt(squares / count), 1.0)
    std[std == 0] = 1.0
    return tuple(mean.tolist()), tuple(std.tolist())


def _write_classes(
    selections: Mapping[PartName, Selection[Examples]], folder: Path
) -> dict[str, Any]:
    """Write each label as the index of its class."""
    counts = Counter(selections["train"].labels())
    classes = split.sort_classes(counts)
    index = {name: number for number, name in enumerate(classes)}
    for name, part in selections.items():
        labels = np.array([index[label] for label in part.labels()], dtype="<i8")
        _write_labels(folder / f"{name}.labels.npy", labels)
    return {"classes": classes, "class_counts": {name: counts[name] for name in classes}}


def _write_numbers(
    selections: Mapping[PartName, Selection[Examples]], folder: Path
) -> dict[str, Any]:
    """Write each label in standard deviations from the mean of the training part."""
    train = np.array(selections["train"].values())
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = float(train.mean()), float(train.std())
    if not (math.isfinite(std) and std > 1e-12 * abs(mean)):  # a smaller one is a rounding error
        examples = selections["train"].examples
        same = f"all {counted(len(train), examples.unit)} to learn from have the label {train[0]:g}"
        why = same if (train == train[0]).all() else "its labels are too large or too close"
        raise DataError(f"{examples.where}: {why}; there is nothing to learn")
    for name, part in selections.items():
        with np.errstate(over="ignore"):
            labels = ((np.array(part.values()) - mean) / std).astype("<f4")
        if not np.isfinite(labels).all():
            raise DataError(f"{part.examples.where}: has labels that are too large to learn")
        _write_labels(folder / f"{name}.labels.npy", labels)
    return {"scale": (mean, std)}


def _write_labels(path: Path, labels: npt.NDArray[np.generic]) -> None:
    with array_file(path, labels.dtype, labels.shape) as file:
        file.write(labels.tobytes())
