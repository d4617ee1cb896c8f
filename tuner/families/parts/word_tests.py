"""How good word vectors are: gaps in sentences, a probe, people's similarities, analogies.

Words that the corpus has but the vectors lack (`min_count` has dropped them) still count: a model
must not look better because it knows less. A pair with such a word has the mean similarity of the
others, so that it says nothing; such a gap or question is answered wrongly.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_matrix
from scipy.stats import spearmanr
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tuner.data import corpus, tokenizer, vector_benchmarks
from tuner.data.corpus import Corpus
from tuner.data.prepared import PartName, PreparedData
from tuner.study_file.data import DataSpec
from tuner.training import bootstrap

CANDIDATES = 30_000  # most frequent words among which an analogy's answer is sought, as gensim does
GAPS = 5_000  # of a part
GAP_CHOICES = 10  # words offered for a gap
GAP_CONTEXT = 5  # words on each side
GAP_RANKS = 50  # in the order of frequency, from the word to the words offered beside it
PROBE_TEXTS = 20_000  # of the training part that the probe learns from; they suffice for its layer
PROBE_STEPS = 200  # of its optimizer
QUESTIONS = 512  # analogies at a time

Floats = npt.NDArray[np.float32]
Right = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Vectors:
    """Words and their vectors."""

    words: Sequence[str]  # the most frequent first
    matrix: Floats  # [words, dimension]
    compose: Callable[[str], Floats | None] = lambda _: None  # of a word that is none of these

    @cached_property
    def index(self) -> dict[str, int]:
        """Word → its row."""
        return {word: row for row, word in enumerate(self.words)}

    def of(self, words: Sequence[str]) -> Floats:
        """float32 [words, dimension]; NaN where there is no vector."""
        found = np.full((len(words), self.matrix.shape[1]), np.nan, dtype=np.float32)
        for place, word in enumerate(words):
            row = self.index.get(word)
            vector = self.compose(word) if row is None else self.matrix[row]
            if vector is not None:
                found[place] = vector
        return found


class Tests:
    """What the vectors of one study are judged by; prepared where it is asked for."""

    def __init__(
        self, spec: DataSpec, data: PreparedData, sentences: Mapping[PartName, Corpus]
    ) -> None:
        self._spec = spec
        self._data = data
        self._sentences = sentences
        self._bags: dict[PartName, _Bag] = {}
        self._gaps: dict[PartName, Gaps] = {}

    def names(self) -> tuple[str, ...]:
        """The metrics that this data allows."""
        probe = ("probe_accuracy",) if self._data.kind == "text" else ()
        return (*probe, "gap_accuracy", *vector_benchmarks.METRICS)

    def measure(self, vectors: Vectors, part: PartName, name: str) -> dict[str, float]:
        """The metric, and for pairs and questions the share of which all words have a vector."""
        if name == "probe_accuracy":
            return {name: float(self._probe(vectors, part).mean())}
        if name == "gap_accuracy":
            return {name: self._of_gaps(part).accuracy(vectors)}
        if name == "word_similarity":
            value, coverage = word_similarity(vectors, self._pairs[part])
        else:
            value, coverage = analogy_accuracy(vectors, self._questions[part])
        return {name: value, f"{name}_coverage": coverage}

    def interval(self, vectors: Vectors, part: PartName, name: str) -> list[float]:
        """The 95 % interval of a metric, by `bootstrap.interval` over what it is made of."""
        if name == "word_similarity":
            cosines, people, _ = _similarities(vectors, self._pairs[part])
            return bootstrap.interval(
                len(people), lambda rows: _correlation(cosines[rows.numpy()], people[rows.numpy()])
            )
        if name == "probe_accuracy":
            right = self._probe(vectors, part)
        elif name == "gap_accuracy":
            right = self._of_gaps(part).right(vectors)
        else:
            right, _ = _answers(vectors, self._questions[part])
        return bootstrap.of_mean(torch.from_numpy(right))

    def _of_gaps(self, part: PartName) -> "Gaps":
        if part not in self._gaps:
            self._gaps[part] = Gaps(self._sentences["train"], self._sentences[part])
        return self._gaps[part]

    @cached_property
    def _pairs(self) -> dict[PartName, list[vector_benchmarks.WordPair]]:
        return vector_benchmarks.halves(vector_benchmarks.word_pairs(self._spec), self._words)

    @cached_property
    def _questions(self) -> dict[PartName, list[vector_benchmarks.Analogy]]:
        return vector_benchmarks.halves(vector_benchmarks.analogies(self._spec), self._words)

    @cached_property
    def _words(self) -> frozenset[str]:
        return frozenset(self._sentences["train"].words)

    def _probe(self, vectors: Vectors, part: PartName) -> Right:
        train, other = self._bag("train"), self._bag(part)
        scaler = StandardScaler()
        # vectors of any length shall be regularized alike
        inputs = scaler.fit_transform(train.averages(vectors))
        probe = LogisticRegression(max_iter=PROBE_STEPS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            probe.fit(inputs, train.labels)
        right: Right = probe.predict(scaler.transform(other.averages(vectors))) == other.labels
        return right

    def _bag(self, name: PartName) -> "_Bag":
        if name not in self._bags:
            most = PROBE_TEXTS if name == "train" else None
            self._bags[name] = _Bag(self._data, name, self._spec, most)
        return self._bags[name]


class Gaps:
    """Sentences of a held-out part with a word missing, and ten words to choose from.

    After the sentence completion by which skip-gram was judged (Zweig & Burges, 2011; Mikolov et
    al., 2013): the word chosen is the one nearest to the mean of those around the gap. The words
    offered are about as frequent as the right one, so frequency tells nothing, and chance is 0.1.
    Frequent words are asked for less often than they occur, by the root of their frequency.
    """

    def __init__(self, train: Corpus, held: Corpus) -> None:
        rng = np.random.default_rng(0)
        counts = train.counts
        self._words = train.words
        places = np.flatnonzero(held.ids >= 0)
        if len(places) > GAPS:
            weights = 1 / np.sqrt(counts[held.ids[places]])
            places = rng.choice(places, GAPS, replace=False, p=weights / weights.sum())
        by_rank = np.argsort(-counts, kind="stable")
        rank = np.empty_like(by_rank)
        rank[by_rank] = np.arange(len(by_rank))
        self._right = held.ids[places]
        self._offered = by_rank[_nearby(rng, rank[self._right], len(by_rank))]
        self._around = _around(held, places)
        # it is in the mean, so that it would always be nearest
        self._stands_there = (self._offered[:, :, None] == self._around[:, None]).any(axis=2)

    def accuracy(self, vectors: Vectors) -> float:
        """The share of gaps that are filled with the right word; 0 without any gap."""
        return int(self.right(vectors).sum()) / max(len(self._right), 1)

    def right(self, vectors: Vectors) -> Right:
        """Which gaps are filled with the right word."""
        unit = _unit(vectors.of(self._words))
        known = ~np.isnan(unit[:, 0])
        padded = np.vstack([np.where(known[:, None], unit, 0), np.zeros_like(unit[:1])])
        right = np.zeros(len(self._right), dtype=np.bool_)
        for start in range(0, len(self._right), QUESTIONS):
            rows = slice(start, start + QUESTIONS)
            context = padded[self._around[rows]].sum(axis=1)
            score = (context * padded[self._right[rows]]).sum(axis=1)
            others = np.einsum("gd,god->go", context, padded[self._offered[rows]])
            # a word without a vector scores 0, and wins against nothing that has one
            others[~known[self._offered[rows]] | self._stands_there[rows]] = -np.inf
            right[rows] = (score > others.max(axis=1)) & known[self._right[rows]]
        return right


def _nearby(
    rng: np.random.Generator, ranks: npt.NDArray[np.int64], words: int
) -> npt.NDArray[np.int64]:
    """Other ranks near each of these, [N, GAP_CHOICES - 1]; the same may come twice."""
    reach = min(GAP_RANKS, words - 1)
    low = np.clip(ranks - reach // 2, 0, words - 1 - reach)[:, None]
    drawn = low + rng.integers(0, reach, size=(len(ranks), GAP_CHOICES - 1))
    return drawn + (drawn >= ranks[:, None])


def _around(held: Corpus, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The words on both sides of each place within its sentence, [N, 2 * GAP_CONTEXT]; -1: none."""
    sentence = np.searchsorted(held.ends, places, side="right")
    first = np.concatenate(([0], held.ends))[sentence][:, None]
    offsets = np.delete(np.arange(-GAP_CONTEXT, GAP_CONTEXT + 1), GAP_CONTEXT)
    at = places[:, None] + offsets
    inside = (at >= first) & (at < held.ends[sentence][:, None])
    return np.where(inside, held.ids[np.where(inside, at, 0)], -1).astype(np.int64)


def word_similarity(
    vectors: Vectors, pairs: Sequence[vector_benchmarks.WordPair]
) -> tuple[float, float]:
    """Spearman's correlation of cosines with people's similarities, and the share of pairs known.

    0 where nothing can be ranked: no pairs, or all alike.
    """
    cosines, people, known = _similarities(vectors, pairs)
    return _correlation(cosines, people), float(known.mean()) if len(known) else 0.0


def _similarities(
    vectors: Vectors, pairs: Sequence[vector_benchmarks.WordPair]
) -> tuple[Floats, npt.NDArray[np.float64], Right]:
    """Cosines, what people say, and which pairs are known."""
    first = _unit(vectors.of([pair.first for pair in pairs]))
    second = _unit(vectors.of([pair.second for pair in pairs]))
    cosines: Floats = (first * second).sum(axis=1)
    known: Right = ~np.isnan(cosines)
    cosines[~known] = cosines[known].mean() if known.any() else 0.0
    return cosines, np.array([pair.similarity for pair in pairs], dtype=np.float64), known


def _correlation(cosines: Floats, people: npt.NDArray[np.float64]) -> float:
    if not len(people) or np.ptp(cosines) == 0 or np.ptp(people) == 0:
        return 0.0
    return float(spearmanr(cosines, people).statistic)


def analogy_accuracy(
    vectors: Vectors, questions: Sequence[vector_benchmarks.Analogy]
) -> tuple[float, float]:
    """The share of right answers by 3CosAdd (Mikolov et al., 2013), and of questions known.

    The answer is the candidate nearest to `second - first + third` that is none of these three.
    """
    if not questions:
        return 0.0, 0.0
    right, known = _answers(vectors, questions)
    return int(right.sum()) / len(questions), known / len(questions)


def _answers(vectors: Vectors, questions: Sequence[vector_benchmarks.Analogy]) -> tuple[Right, int]:
    """Which questions are answered rightly, and how many are known."""
    candidates = _unit(vectors.matrix[:CANDIDATES])
    right = np.zeros(len(questions), dtype=np.bool_)
    known = 0
    for start in range(0, len(questions), QUESTIONS):
        some = questions[start : start + QUESTIONS]
        given = [_unit(vectors.of([q[place] for q in some])) for place in range(3)]
        # a word without direction has no nearest one, and no product may be NaN
        scores = np.nan_to_num(given[1] - given[0] + given[2]) @ np.nan_to_num(candidates).T
        for row, question in enumerate(some):
            if any(np.isnan(vector[row, 0]) for vector in given):
                continue
            for word in question[:3]:
                place = vectors.index.get(word, len(candidates))
                if place < len(candidates):
                    scores[row, place] = -math.inf
            known += question.fourth in vectors.index
            right[start + row] = vectors.words[int(scores[row].argmax())] == question.fourth
    return right, known


def _unit(vectors: Floats) -> Floats:
    """Of length 1; NaN for one without a direction."""
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


class _Bag:
    """The words of each text of a part, counted."""

    def __init__(
        self, data: PreparedData, name: PartName, spec: DataSpec, most: int | None
    ) -> None:
        texts, labels = data.texts(name), np.array(data.part(name).labels)
        if most is not None and len(texts) > most:
            rows = np.linspace(0, len(texts) - 1, most).astype(int).tolist()
            texts, labels = [texts[row] for row in rows], labels[rows]
        found = corpus.encode(texts, tokenizer.tokenizer(spec))
        self.words = found.words
        self.labels = labels
        starts = np.concatenate(([0], found.ends))
        ones = np.ones(len(found.ids), dtype=np.float32)
        shape = (len(texts), len(found.words))
        self._counts = csr_matrix((ones, found.ids, starts), shape=shape)

    def averages(self, vectors: Vectors) -> Floats:
        """The mean vector of each text's words that have one, [texts, dimension]; else zeros."""
        of_words = vectors.of(self.words)
        known = ~np.isnan(of_words[:, 0])
        total = self._counts @ np.where(known[:, None], of_words, 0)
        number = self._counts @ known.astype(np.float32)
        averages: Floats = total / np.maximum(number, 1)[:, None]
        return averages
