"""Shared by `word2vec` and `fasttext`: training with gensim, epoch by epoch, weights and exports.

gensim trains with as many threads as the trial may use, and one more that feeds them. With one
thread a trial is reproducible from its seed. With more, threads write to the same vectors without
waiting for each other, and no two runs are equal.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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
from tuner.data.vectors import load_vectors, pack_words
from tuner.errors import DataError
from tuner.families.code import Models
from tuner.families.parts.word_tests import Floats, Tests, Vectors
from tuner.study_file.data import DataSpec
from tuner.training import loop
from tuner.training.cohort import Cohort, Context, Task
from tuner.training.member import DivergedError
from tuner.trials import COSTS, PARAMETERS, ParamValue

NEAREST = 10  # neighbours that a prediction names
LARGEST_ALPHA = 1.0  # gensim's native code reads outside its tables when numbers overflow

Params = Mapping[str, ParamValue]
Arrays = Mapping[str, npt.NDArray[Any]]
Views = Callable[[Word2Vec], dict[str, Floats]]  # arrays of a model by name, not copies


@dataclass(frozen=True)
class Kind:
    """What differs between gensim's models."""

    build: Callable[[Params, Corpus, int, int], Word2Vec]  # parameters, corpus, seed, threads
    state: Views  # the arrays that training changes: a checkpoint's
    weights: Views  # the arrays that an export needs, besides the words
    vectors: Callable[[Params, Arrays], Vectors]  # of an export's arrays


def code(kind: Kind) -> Models:
    """What a family of such models declares."""
    return Models(
        train=partial(train, kind=kind),
        measure=partial(measure, kind=kind),
        predictions=partial(predictions, kind=kind),
        export=export,
    )


def train(cohort: Cohort, data: PreparedData, context: Context, *, kind: Kind) -> None:
    """Train a cohort of models of one kind."""
    spec = DataSpec.model_validate(cohort.data)
    parts = corpus.load(data, spec)
    tests = Tests(spec, data, parts)

    def learner(task: Task) -> _Learner:
        return _Learner(task, cohort, parts["train"], tests, kind)

    with threadpool_limits(cohort.threads):
        loop.run(cohort, context, learner)


def settings(params: Params, seed: int, threads: int) -> dict[str, Any]:
    """Return the keyword arguments that gensim's models share."""
    p: Mapping[str, Any] = params
    if p["batch_words"] > corpus.LONGEST:
        raise DataError(
            f"batch_words must be at most {corpus.LONGEST:,}, is {p['batch_words']:,}: gensim "
            "ignores the words beyond that"
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
    """Give a model the corpus's words; DataError if `min_count` leaves fewer than two."""
    counts = sentences.counts
    if (counts >= model.min_count).sum() < 2:
        raise DataError(f"fewer than 2 words occur at least {model.min_count} times in the corpus")
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
        self._epoch = 0  # epochs that are finished

    def epoch(self) -> dict[str, float]:
        """Train one epoch of a single long run, and measure the objective."""
        started = time.perf_counter()
        self._model.train(
            self._sentences,
            total_examples=len(self._sentences),
            epochs=1,
            start_alpha=self._alpha(self._epoch),
            end_alpha=self._alpha(self._epoch + 1),
        )
        self._epoch += 1
        seconds = time.perf_counter() - started
        if not np.isfinite(self._model.wv.vectors).all():
            raise DivergedError("vectors became NaN or infinite")
        vectors = self._kind.vectors(self._params, self._arrays())
        metrics: dict[str, float] = {}
        for name in self._metrics:
            metrics |= self._tests.measure(vectors, "validation", name)
        return {
            **metrics,
            "words": float(len(vectors.words)),
            "words_per_second": len(self._sentences.ids) / seconds,
        }

    def costs(self) -> dict[str, float]:
        """Count the numbers of the exported vectors; looking one up takes no measurable time."""
        arrays = self._kind.weights(self._model)
        return {PARAMETERS: float(sum(array.size for array in arrays.values()))}

    def weights(self) -> dict[str, Tensor]:
        """Return the vectors, and their words as bytes, one per line."""
        return {name: torch.from_numpy(array) for name, array in self._arrays().items()}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return input and output vectors, and the state of the random generator."""
        _, key, position, *_ = self._model.random.get_state()
        arrays = self._kind.state(self._model)
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return {**tensors, "random": torch.from_numpy(key.astype(np.int64))}, {
            "position": int(position),
            "epochs": self._epoch,
        }

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Restore what `state` has returned."""
        for name, array in self._kind.state(self._model).items():
            array[...] = tensors[name].numpy()
        key = tensors["random"].numpy().astype(np.uint32)
        self._model.random.set_state(("MT19937", key, values["position"], 0, 0.0))
        self._epoch = values["epochs"]

    def _alpha(self, epoch: int) -> float:
        """Return the learning rate after `epoch` epochs; it falls linearly to the last one."""
        p: Mapping[str, Any] = self._params  # gensim changes the model's own with every epoch
        return float(p["alpha"] - (p["alpha"] - p["min_alpha"]) * epoch / self._epochs)

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {
            **self._kind.weights(self._model),
            "words": pack_words(self._model.wv.index_to_key),
        }


@dataclass(frozen=True)
class VectorScores:
    """Vectors to be measured on a part."""

    tests: Tests
    vectors: Vectors
    part: PartName

    def metrics(self) -> dict[str, float]:
        """Measure every metric that the data allows."""
        metrics: dict[str, float] = {}
        for name in self.tests.names():
            metrics |= self.tests.measure(self.vectors, self.part, name)
        return metrics

    def interval(self, name: str) -> list[float]:
        """Compute the 95 % interval of a metric, resampling gaps, texts, pairs or questions."""
        return self.tests.interval(self.vectors, self.part, name)


def measure(
    params: Params,
    spec: DataSpec,
    data: PreparedData,
    weights: Path,
    parts: Sequence[PartName],
    *,
    kind: Kind,
) -> dict[PartName, VectorScores]:
    """Score the vectors of a file on each part."""
    vectors = kind.vectors(params, safetensors.numpy.load_file(weights))
    tests = Tests(spec, data, corpus.load(data, spec))
    return {part: VectorScores(tests, vectors, part) for part in parts}


def export(_: Params, __: PreparedData, weights: Path, folder: Path) -> dict[str, Any]:
    """Write the vectors in the text format of word2vec, which gensim and others read."""
    _load_keyed_vectors(weights).save_word2vec_format(str(folder / VECTORS_FILE))
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
    """Return the words nearest to a corpus's words, or to a table's texts; to check a bundle."""
    vectors = kind.vectors(params, safetensors.numpy.load_file(weights))
    unit = vectors.matrix / np.linalg.norm(vectors.matrix, axis=1, keepdims=True)
    predicted = []
    for line in (data.vocabulary if data.kind == "corpus" else data.texts(part))[:rows]:
        words = tokenizer.make_tokenizer(spec)(line)
        known = vectors.of(words)
        known = known[~np.isnan(known[:, 0])]  # of words with a vector
        nearest: dict[str, float] = {}
        if len(known):
            mean = known.mean(axis=0)
            cosines = unit @ (mean / np.linalg.norm(mean))
            ranked = np.argsort(-cosines)[: NEAREST + len(words)]
            others = [row for row in ranked.tolist() if vectors.words[row] not in words]
            nearest = {vectors.words[row]: float(cosines[row]) for row in others[:NEAREST]}
        predicted.append({"words": words, "nearest": nearest})
    return predicted


def _load_keyed_vectors(weights: Path) -> KeyedVectors:
    words, matrix = load_vectors(weights)
    vectors = KeyedVectors(matrix.shape[1])
    vectors.add_vectors(words, matrix)
    return vectors
