"""Examples → the arrays of an entry of the cache, and what was learned from the training part."""

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
from tuner.data.fingerprint import renamed
from tuner.data.prepared import PARTS, PartName, PreparedData
from tuner.data.sources.corpus import sentences
from tuner.data.sources.read import read
from tuner.data.split import Chosen
from tuner.errors import DataError
from tuner.files import shown
from tuner.study_file.data import CORPORA, DataSpec
from tuner.study_file.messages import counted

LONGEST = 512  # tokens; the most that `max_length` becomes by itself
CHUNK = 1024  # images whose statistics are taken at once


def build(spec: DataSpec, folder: Path, fingerprint: str) -> PreparedData:
    """Read, split and prepare; the arrays are written into `folder`.

    DataError if the data is missing, unreadable or unfit; OSError if `folder` cannot be written.
    """
    if spec.source in CORPORA:
        return _corpus(spec, folder, fingerprint)
    given = read(spec)
    chosen = split.parts(given, spec.split)
    if isinstance(given["train"], Pairs):
        learned = pairs.write(cast(Mapping[PartName, Chosen[Pairs]], chosen), spec, folder)
        return _prepared(given, chosen, folder, fingerprint, learned)
    labels = (_numbers if spec.is_regression else _classes)(chosen, folder)
    if isinstance(given["train"], Texts):
        learned = _texts(cast(Mapping[PartName, Chosen[Texts]], chosen), spec, folder)
    else:
        learned = _images(cast(Mapping[PartName, Chosen[Images]], chosen), folder)
    return _prepared(given, chosen, folder, fingerprint, {**learned, **labels})


def _prepared(
    given: Mapping[PartName, Examples],
    chosen: Mapping[PartName, Chosen[Examples]],
    folder: Path,
    fingerprint: str,
    learned: Mapping[str, Any],
) -> PreparedData:
    rest = {key: value for key, value in learned.items() if key != "notes"}
    return PreparedData(
        folder=folder,
        fingerprint=renamed(fingerprint) if given["train"].reordered else fingerprint,
        sizes={name: len(chosen[name].rows) for name in PARTS},
        notes=(*_notes(given), *split.notes(chosen), *learned.get("notes", ())),
        **rest,
    )


def _corpus(spec: DataSpec, folder: Path, fingerprint: str) -> PreparedData:
    read_ = sentences(spec)
    parts = corpus.parts(read_.texts, spec)
    for name, part in parts.items():
        if not len(part):
            raise DataError(
                f"{shown(spec.path or Path(spec.source))}: has too few sentences to be split: "
                f"the {name} part has none"
            )
        for what, found in (("tokens", part.ids), ("ends", part.ends)):
            with array_file(folder / f"{name}.{what}.npy", found.dtype, found.shape) as file:
                file.write(found.data)
    train = parts["train"]
    counts = dict(zip(train.words, train.counts.tolist(), strict=True))
    return PreparedData(
        kind="corpus",
        folder=folder,
        fingerprint=fingerprint,
        classes=(),
        sizes={name: len(part) for name, part in parts.items()},
        vocabulary=tuple(train.words),
        notes=(*read_.notes, *tokenizer.propose_characters(counts, len(train), spec)),
    )


def _notes(given: Mapping[PartName, Examples]) -> Iterator[str]:
    for name, examples in given.items():
        for note in examples.notes:
            yield f"{name} data: {note}" if len(given) > 1 else note


def _texts(
    chosen: Mapping[PartName, Chosen[Texts]], spec: DataSpec, folder: Path
) -> dict[str, Any]:
    train = chosen["train"]
    tokenize = tokenizer.tokenizer(spec)
    counts: Counter[str] = Counter()
    lengths = []
    for row in train.rows:
        tokens = tokenize(train.examples.texts[row])
        counts.update(tokens)
        lengths.append(len(tokens))
    vocabulary = tokenizer.vocabulary(counts, most=spec.vocabulary, min_count=spec.min_count)
    length = spec.max_length or _needed(lengths)
    index = {word: number for number, word in enumerate(vocabulary)}
    for name, part in chosen.items():
        texts = [part.examples.texts[row] for row in part.rows]
        with (folder / f"{name}.texts.jsonl").open("w", encoding="utf-8") as lines:
            lines.writelines(json.dumps(text) + "\n" for text in texts)
        with array_file(folder / f"{name}.inputs.npy", "<i4", (len(part.rows), length)) as file:
            for text in texts:
                file.write(_encoded(tokenize(text), index, length))
    notes = [*tokenizer.propose_characters(counts, len(lengths), spec)]
    if spec.vectors is not None:
        found, missing = vectors.read(spec.vectors, vocabulary)
        with array_file(folder / "vectors.npy", "<f4", found.shape) as file:
            file.write(found.tobytes())
        known = len(vocabulary) - tokenizer.SPECIAL
        if missing:
            verb = "has" if missing == 1 else "have"
            notes.append(f"{missing:,} of the {known:,} words of the vocabulary {verb} no vector")
    return {
        "kind": "text",
        "input_shape": (length,),
        "vocabulary": vocabulary,
        "tokens": spec.tokens,
        "has_vectors": spec.vectors is not None,
        "notes": notes,
    }


def _needed(lengths: Sequence[int]) -> int:
    """The tokens that 99 % of the texts need, within 2 and `LONGEST`."""
    position = math.ceil(0.99 * len(lengths)) - 1
    return min(max(sorted(lengths)[position], 2), LONGEST)


def _encoded(tokens: Sequence[str], index: Mapping[str, int], length: int) -> bytes:
    ids = [index.get(token, tokenizer.UNKNOWN) for token in tokens[:length]]
    return array("i", ids + [tokenizer.PADDING] * (length - len(ids))).tobytes()


def _images(chosen: Mapping[PartName, Chosen[Images]], folder: Path) -> dict[str, Any]:
    first = chosen["train"].examples
    for name, part in chosen.items():
        images, shape = part.examples, (len(part.rows), *part.examples.shape)
        with array_file(folder / f"{name}.inputs.npy", images.dtype, shape) as file:
            for row in part.rows:
                file.write(np.ascontiguousarray(images.read(row)).tobytes())
    mean, std = _statistics(np.load(folder / "train.inputs.npy", mmap_mode="r"))
    return {"kind": "images", "input_shape": first.shape, "mean": mean, "std": std}


def _statistics(
    images: npt.NDArray[np.generic],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation a channel of [N, C, H, W]; 1 for a channel that is constant.

    Chunks are merged by Chan's formula, as a sum of squares loses digits where the mean is large.
    """
    channels = images.shape[1]
    count = 0
    mean, squares = np.zeros(channels), np.zeros(channels)  # squares: of the distance from the mean
    low, high = np.full(channels, np.inf), np.full(channels, -np.inf)
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK].astype(np.float64)
        size = chunk.size // channels
        chunk_mean = chunk.mean(axis=(0, 2, 3))
        distance = chunk_mean - mean
        squares += chunk.var(axis=(0, 2, 3)) * size
        squares += distance**2 * (count * size / (count + size))
        mean += distance * (size / (count + size))
        count += size
        low = np.minimum(low, chunk.min(axis=(0, 2, 3)))
        high = np.maximum(high, chunk.max(axis=(0, 2, 3)))
    std = np.where(high > low, np.sqrt(squares / count), 1.0)
    std[std == 0] = 1.0
    return tuple(mean.tolist()), tuple(std.tolist())


def _classes(chosen: Mapping[PartName, Chosen[Examples]], folder: Path) -> dict[str, Any]:
    """Write each label as the place of its class."""
    counts = Counter(chosen["train"].labels())
    classes = split.classes(counts)
    index = {name: number for number, name in enumerate(classes)}
    for name, part in chosen.items():
        labels = np.array([index[label] for label in part.labels()], dtype="<i8")
        _write_labels(folder / f"{name}.labels.npy", labels)
    return {"classes": classes, "class_counts": {name: counts[name] for name in classes}}


def _numbers(chosen: Mapping[PartName, Chosen[Examples]], folder: Path) -> dict[str, Any]:
    """Write each label in standard deviations from the mean of the training part."""
    train = np.array(chosen["train"].values())
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = float(train.mean()), float(train.std())
    if not (math.isfinite(std) and std > 1e-12 * abs(mean)):  # else it is what rounding left
        examples = chosen["train"].examples
        same = f"all {counted(len(train), examples.unit)} to learn from have the label {train[0]:g}"
        why = same if (train == train[0]).all() else "its labels are too large or too close"
        raise DataError(f"{examples.where}: {why}; there is nothing to learn")
    for name, part in chosen.items():
        with np.errstate(over="ignore"):
            labels = ((np.array(part.values()) - mean) / std).astype("<f4")
        if not np.isfinite(labels).all():
            raise DataError(f"{part.examples.where}: has labels that are too large to be learned")
        _write_labels(folder / f"{name}.labels.npy", labels)
    return {"scale": (mean, std)}


def _write_labels(path: Path, labels: npt.NDArray[np.generic]) -> None:
    with array_file(path, labels.dtype, labels.shape) as file:
        file.write(labels.tobytes())
