"""Prepared data: arrays on disk, memory-mapped, the same for every process that opens them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # the command line reads sizes and fingerprints, never arrays
    import numpy as np
    import numpy.typing as npt

PartName = Literal["train", "validation", "test"]
PARTS: tuple[PartName, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a data set.

    Images: `inputs` is uint8 or float32 [N, C, H, W]. Text: int32 [N, max_length], token ids padded
    with 0. Features: float32 [N, width]. `labels` is int64 [N], indices into
    `PreparedData.classes`; numbers float32 [N], standardized by `PreparedData.scale`; of pairs
    int64 [N, longest], token ids of what the text becomes and of its end, padded with 0.
    """

    inputs: npt.NDArray[np.generic]
    labels: npt.NDArray[np.int64] | npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class PreparedData:
    """A data set ready for training; everything in it was learned from the training part alone."""

    kind: Literal["images", "text", "corpus", "pairs", "features"]  # features: of the others
    folder: Path
    fingerprint: str  # of the raw content and of the split, not of where it lies
    sizes: Mapping[PartName, int]  # examples; of a corpus, sentences
    classes: tuple[str, ...] = ()
    input_shape: tuple[int, ...] = ()  # C, H, W; max_length,; width,; pairs: of both sides
    mean: tuple[float, ...] = ()  # images: a channel, in the units of `inputs`
    std: tuple[float, ...] = ()  # never 0: a constant channel has 1
    # text: index 0 is padding, 1 is an unknown word; corpus: all, as they first occur
    vocabulary: tuple[str, ...] = ()
    tokens: Literal["characters", "words"] = "words"  # text: what the vocabulary is of
    target_vocabulary: tuple[str, ...] = ()  # pairs: of what texts become; 2 is their end
    target_tokens: Literal["characters", "words"] = "words"  # pairs: what that consists of
    has_vectors: bool = False  # text: word vectors were given
    class_counts: Mapping[str, int] = field(default_factory=dict)  # in the training part
    # labels that are numbers: their mean and standard deviation in the training part, else none
    scale: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()  # what the user should know: dropped rows, parts that overlap

    @property
    def outputs(self) -> int:
        """What a network says of an example: a number for each class, or the one to be predicted.

        0 where the data has no labels, and of pairs.
        """
        return len(self.classes) if self.scale is None else 1

    def part(self, name: PartName) -> Part:
        """The arrays of a part, memory-mapped; what is written to them never reaches the files."""
        import numpy as np

        # copy on write ("c"), since torch has no read-only tensors
        inputs = np.load(self.folder / f"{name}.inputs.npy", mmap_mode="c", allow_pickle=False)
        labels = np.load(self.folder / f"{name}.labels.npy", mmap_mode="c", allow_pickle=False)
        return Part(inputs=inputs, labels=labels)

    def texts(self, name: PartName) -> list[str]:
        """The texts of a part as they were given, in the order of its arrays.

        FileNotFoundError where the data is no text.
        """
        found: list[str] = self._lines(f"{name}.texts.jsonl")
        return found

    def targets(self, name: PartName) -> list[str]:
        """What the texts of a part become, as it was given; FileNotFoundError if no pairs."""
        found: list[str] = self._lines(f"{name}.targets.jsonl")
        return found

    def alternatives(self, name: PartName) -> list[list[list[int]]]:
        """What counts as right beside its target, for each text of a part: lists of token ids.

        FileNotFoundError if no pairs.
        """
        found: list[list[list[int]]] = self._lines(f"{name}.alternatives.jsonl")
        return found

    def _lines(self, name: str) -> list[Any]:
        with (self.folder / name).open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    def sentences(self, name: PartName) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """A corpus: numbers of words [tokens], and where in it each sentence ends [sentences].

        Words that the training part lacks have the number -1. Memory-mapped. FileNotFoundError
        where the data is no corpus.
        """
        import numpy as np

        tokens = np.load(self.folder / f"{name}.tokens.npy", mmap_mode="r", allow_pickle=False)
        ends = np.load(self.folder / f"{name}.ends.npy", mmap_mode="r", allow_pickle=False)
        return tokens, ends

    def vectors(self) -> npt.NDArray[np.float32]:
        """float32 [len(vocabulary), dimension]; words without a vector have a row of NaN.

        FileNotFoundError where `has_vectors` is false.
        """
        import numpy as np

        array: npt.NDArray[np.float32] = np.load(
            self.folder / "vectors.npy", mmap_mode="r", allow_pickle=False
        )
        return array
