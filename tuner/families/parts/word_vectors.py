"""What `word2vec` and `fasttext` share: gensim's training an epoch at a time, weights, exports.

gensim trains with as many threads as the trial was given and a thread that feeds them. With one
thread a trial follows from its seed; with more, threads write to the same vectors without waiting
for each other, and no two runs are alike.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
import torch
from gensim.models import KeyedVectors, Word2Vec
from threadpoolctl import threadpool_limits
from torch import Tensor

from tuner.artifacts import VECTORS_FILE
from tuner.data import corpus, tokenizer
from tuner.data.corpus import Corpus
from tuner.data.prepared import PartName, PreparedData
from tuner.data.vectors import of_weights, packed
from tuner.errors import DataError
from tuner.families.parts.word_tests import Floats, Tests, Vectors
from tuner.study_file.data import DataSpec
from tuner.training import loop
from tuner.training.cohort import Cohort, Context, Task
from tuner.training.member import DivergedError
from tuner.trials import COSTS, PARAMETERS, ParamValue

NEAREST = 10  # words that a bundle names
LARGEST_ALPHA = 1.0  # gensim's native code reads outside of its tables when numbers overflow

Params = Mapping[str, ParamValue]
Arrays = Mapping[str, npt.NDArray[Any]]
Inside = Callable[[Word2Vec], dict[str, Floats]]  # arrays of a model, not copies


@dataclass(frozen=True)
class Kind:
    """What differs between gensim's models."""

    build: Callable[[Params, Corpus, int, int], Word2Vec]  # parameters, corpus, seed, threads
    trained: Inside  # what an epoch changes and the next one needs
    kept: Inside  # what an export needs, the words aside
    read: Callable[[Params, Arrays], Vectors]  # the vectors of that


def train(cohort: Cohort, data: PreparedData, context: Context, kind: Kind) -> None:
    """Train a cohort of models of one kind."""
    spec = DataSpec.model_validate(cohort.data)
    parts = corpus.load(data, spec)
    tests = Tests(spec, data, parts)

    def learner(task: Task) -> _Learner:
        return _Learner(task, cohort, parts["train"], tests, kind)

    with threadpool_limits(cohort.threads):
        loop.run(cohort, context, learner)


def settings(params: Params, seed: int, threads: int) -> dict[str, Any]:
    """The keyword arguments that gensim's models share."""
    p: Mapping[str, Any] = params
    if p["batch_words"] > corpus.LONGEST:
        raise DataError(
            f"batch_words must be at most {corpus.LONGEST:,}, is {p['batch_words']:,}: gensim "
            "passes over what is behind"
        )
    if p["alpha"] > LARGEST_ALPHA:
        raise DataError(f"alpha must be at most {LARGEST_ALPHA:g}, is {p['alpha']:g}")
    return {
        "sg": p["sg"],
        "vector_size": p["vector_size"],
        "window": p["window"],
        "min_count": p["min_count"],
        "hs": p["hs"],
        "negative": 0 if p["hs"] else p["negative"],
        "ns_exponent": 0.75 if p["hs"] else p["ns_exponent"],
        "sample": p["sample"],
        "alpha": p["alpha"],
        "min_alpha": p["min_alpha"],
        "batch_words": p["batch_words"],
        "workers": threads,
        "seed": seed,
    }


def with_vocabulary(model: Word2Vec, sentences: Corpus) -> Word2Vec:
    """The model with the corpus's words; DataError if `min_count` leaves fewer than two."""
    counts = sentences.counts
    if (counts >= model.min_count).sum() < 2:
        raise DataError(f"fewer than 2 words stand {model.min_count} times in the corpus")
    frequencies = dict(zip(sentences.words, counts.tolist(), strict=True))
    model.build_vocab_from_freq(frequencies, corpus_count=len(sentences))
    return model


class _Learner:
    """A trial's model in training; a `member.Learner`."""

    def __init__(
        self,
        task: Task,
        cohort: Cohort,
        sentences: Corpus,
        tests: Tests,
        kind: Kind,
    ) -> None:
        self._params = task.params
        self._metrics = (cohort.metric, *(name for name in cohort.others if name not in COSTS))
        self._epochs = cohort.epochs_of(task)
        self._sentences = sentences
        self._tests = tests
        self._kind = kind
        self._model = kind.build(task.params, sentences, task.seed, cohort.threads)
        self._done = 0  # epochs

    def epoch(self) -> dict[str, float]:
        """Train one epoch, a part of one long training, and measure the objective."""
        started = time.perf_counter()
        self._model.train(
            self._sentences,
            total_examples=len(self._sentences),
            epochs=1,
            start_alpha=self._alpha(self._done),
            end_alpha=self._alpha(self._done + 1),
        )
        self._done += 1
        seconds = time.perf_counter() - started
        if not np.isfinite(self._model.wv.vectors).all():
            raise DivergedError("vectors became NaN or infinite")
        vectors = self._kind.read(self._params, self._arrays())
        measured: dict[str, float] = {}
        for name in self._metrics:
            measured |= self._tests.measure(vectors, "validation", name)
        return {
            **measured,
            "words": float(len(vectors.words)),
            "words_per_second": len(self._sentences.ids) / seconds,
        }

    def costs(self) -> dict[str, float]:
        """Numbers in the vectors that are kept; to look one up takes no time worth the name."""
        kept = self._kind.kept(self._model)
        return {PARAMETERS: float(sum(array.size for array in kept.values()))}

    def weights(self) -> dict[str, Tensor]:
        """The vectors, and their words, one a line, as bytes."""
        return {name: torch.from_numpy(array) for name, array in self._arrays().items()}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Input and output vectors, and where the random numbers are."""
        _, key, position, *_ = self._model.random.get_state()
        arrays = self._kind.trained(self._model)
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return {**tensors, "random": torch.from_numpy(key.astype(np.int64))}, {
            "position": int(position),
            "epochs": self._done,
        }

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Take on a state."""
        for name, array in self._kind.trained(self._model).items():
            array[...] = tensors[name].numpy()
        key = tensors["random"].numpy().astype(np.uint32)
        self._model.random.set_state(("MT19937", key, values["position"], 0, 0.0))
        self._done = values["epochs"]

    def _alpha(self, done: int) -> float:
        """The learning rate falls by the word, from the first epoch to the last."""
        p: Mapping[str, Any] = self._params  # the model's own change with every epoch
        return float(p["alpha"] - (p["alpha"] - p["min_alpha"]) * done / self._epochs)

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {**self._kind.kept(self._model), "words": packed(self._model.wv.index_to_key)}


@dataclass(frozen=True)
class Judged:
    """Vectors on a part."""

    tests: Tests
    vectors: Vectors
    part: PartName

    def metrics(self) -> dict[str, float]:
        """Every metric that the data allows."""
        found: dict[str, float] = {}
        for name in self.tests.names():
            found |= self.tests.measure(self.vectors, self.part, name)
        return found

    def interval(self, name: str) -> list[float]:
        """The 95 % interval of a metric, over gaps, texts, pairs or questions."""
        return self.tests.interval(self.vectors, self.part, name)


def measure(
    params: Params,
    spec: DataSpec,
    data: PreparedData,
    weights: Path,
    parts: Sequence[PartName],
    *,
    kind: Kind,
) -> dict[str, Judged]:
    """Part → the vectors in a file, to be judged on it."""
    vectors = kind.read(params, safetensors.numpy.load_file(weights))
    tests = Tests(spec, data, corpus.load(data, spec))
    return {part: Judged(tests, vectors, part) for part in parts}


def export(_: Params, __: PreparedData, weights: Path, folder: Path) -> dict[str, Any]:
    """Write the vectors as gensim and others read them, in the text format of word2vec."""
    _keyed(weights).save_word2vec_format(str(folder / VECTORS_FILE))
    return {}


def predictions(
    params: Params,
    spec: DataSpec,
    data: PreparedData,
    weights: Path,
    part: PartName,
    rows: int,
    *,
    kind: Kind,
) -> list[dict[str, Any]]:
    """The words nearest to those of a corpus, or to the texts of a table; checks a bundle."""
    vectors = kind.read(params, safetensors.numpy.load_file(weights))
    unit = vectors.matrix / np.linalg.norm(vectors.matrix, axis=1, keepdims=True)
    found = []
    for line in (data.vocabulary if data.kind == "corpus" else data.texts(part))[:rows]:
        asked = tokenizer.tokenizer(spec)(line)
        known = vectors.of(asked)
        known = known[~np.isnan(known[:, 0])]
        nearest: dict[str, float] = {}
        if len(known):
            mean = known.mean(axis=0)
            cosines = unit @ (mean / np.linalg.norm(mean))
            ranked = np.argsort(-cosines)[: NEAREST + len(asked)]
            others = [row for row in ranked.tolist() if vectors.words[row] not in asked]
            nearest = {vectors.words[row]: float(cosines[row]) for row in others[:NEAREST]}
        found.append({"words": asked, "nearest": nearest})
    return found


def _keyed(weights: Path) -> KeyedVectors:
    names, matrix = of_weights(weights)
    vectors = KeyedVectors(matrix.shape[1])
    vectors.add_vectors(names, matrix)
    return vectors
