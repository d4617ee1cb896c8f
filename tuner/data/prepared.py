"""Prepared data: arrays on disk, memory-mapped and shared by all processes that open them."""

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
    """The arrays of one part of a data set.

    `inputs` of images are uint8 or float32 [N, C, H, W]; of text and pairs token ids, int32
    [N, longest], padded with 0; of features float32 [N, width].
    `labels` are indices into `PreparedData.classes`, int64 [N]; or numbers standardized by
    `PreparedData.scale`, float32 [N]; of pairs token ids of the target and its end, int64
    [N, longest], padded with 0.
    """

    inputs: npt.NDArray[np.generic]
    labels: npt.NDArray[np.int64] | npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class PreparedData:
    """A data set ready for training; everything was learned from the training part only.

    The field names are keys of the cache's meta.json.
    """

    kind: Literal["images", "text", "corpus", "pairs", "features"]  # features: of another kind
    folder: Path
    fingerprint: str  # of the raw content and the split, not of the path
    sizes: Mapping[PartName, int]  # number of examples; of sentences for a corpus
    classes: tuple[str, ...] = ()
    input_shape: tuple[int, ...] = ()  # images C, H, W; one length or width; pairs: two lengths
    mean: tuple[float, ...] = ()  # images: per channel, in the units of `inputs`
    std: tuple[float, ...] = ()  # images: per channel; 1 for a constant one
    # text: index 0 is padding, 1 is an unknown word; corpus: all words, in order of occurrence
    vocabulary: tuple[str, ...] = ()
    tokens: Literal["characters", "words"] = "words"  # text: kind of the vocabulary's tokens
    target_vocabulary: tuple[str, ...] = ()  # pairs: of the targets; index 2 is their end
    target_tokens: Literal["characters", "words"] = "words"  # pairs: kind of the targets' tokens
    has_vectors: bool = False  # text: the study file names word vectors
    class_counts: Mapping[str, int] = field(default_factory=dict)  # in the training part
    # regression: mean and standard deviation of the labels in the training part
    scale: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()  # for the user: dropped rows, parts that overlap

    @property
    def outputs(self) -> int:
        """The number of a network's outputs per example: one for each class, or one number.

        0 for pairs and for data without labels.
        """
        return len(self.classes) if self.scale is None else 1

    def part(self, name: PartName) -> Part:
        """Open the arrays of a part, memory-mapped; writing to them never changes the files."""
        import numpy as np

        # copy on write ("c"), since torch has no read-only tensors
        inputs = np.load(self.folder / f"{name}.inputs.npy", mmap_mode="c", allow_pickle=False)
        labels = np.load(self.folder / f"{name}.labels.npy", mmap_mode="c", allow_pickle=False)
        return Part(inputs=inputs, labels=labels)

    def texts(self, name: PartName) -> list[str]:
        """Read the original texts of a part, in the order of its arrays.

        Raises FileNotFoundError if the data has no texts.
        """
        texts: list[str] = self._read_lines(f"{name}.texts.jsonl")
        return texts

    def targets(self, name: PartName) -> list[str]:
        """Read the original targets of a part's pairs; FileNotFoundError for other data."""
        targets: list[str] = self._read_lines(f"{name}.targets.jsonl")
        return targets

    def alternatives(self, name: PartName) -> list[list[list[int]]]:
        """Read what is right besides its target for each text of a part: lists of token ids.

        Raises FileNotFoundError if the data has no pairs.
        """
        alternatives: list[list[list[int]]] = self._read_lines(f"{name}.alternatives.jsonl")
        return alternatives

    def _read_lines(self, name: str) -> list[Any]:
        with (self.folder / name).open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    def sentences(self, name: PartName) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Open a corpus's word ids [tokens] and the end of each sentence in them [sentences].

        Words missing from the training part have the id -1. Memory-mapped. Raises FileNotFoundError
        if the data is no corpus.
        """
        import numpy as np

        tokens = np.load(self.folder / f"{name}.tokens.npy", mmap_mode="r", allow_pickle=False)
        ends = np.load(self.folder / f"{name}.ends.npy", mmap_mode="r", allow_pickle=False)
        return tokens, ends

    def vectors(self) -> npt.NDArray[np.float32]:
        """Open the word vectors, float32 [len(vocabulary), dimension]; a missing one is NaN.

        Raises FileNotFoundError if `has_vectors` is false.
        """
        import numpy as np

        array: npt.NDArray[np.float32] = np.load(
            self.folder / "vectors.npy", mmap_mode="r", allow_pickle=False
        )
        return array
