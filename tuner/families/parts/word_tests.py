"""Metrics of word vectors: gaps in sentences, a probe, human similarity ratings, analogies.

Words of the corpus without a vector (dropped by `min_count`) still count: a model must not look
better because it knows less. A pair with such a word gets the mean similarity of the other pairs,
so that it says nothing; a gap or question with such a word counts as answered wrongly.
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

CANDIDATES = 30_000  # most frequent words that may answer an analogy, as in gensim
GAPS = 5_000  # per part
GAP_CHOICES = 10  # words to choose from, the right one among them
GAP_CONTEXT = 5  # words on each side
GAP_RANKS = 50  # width of the window of frequency ranks that distractors are drawn from
PROBE_TEXTS = 20_000  # texts of the training part that the probe learns from
PROBE_STEPS = 200  # of the probe's optimizer
QUESTIONS = 512  # gaps or analogies per batch

Floats = npt.NDArray[np.float32]
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Vectors:
    """Words and their vectors."""

    words: Sequence[str]  # the most frequent first
    matrix: Floats  # [words, dimension]
    compose: Callable[[str], Floats | None] = lambda _: None  # for a word that is not in `words`

    @cached_property
    def index(self) -> dict[str, int]:
        """Map each word to its row."""
        return {word: row for row, word in enumerate(self.words)}

    def of(self, words: Sequence[str]) -> Floats:
        """Look up vectors, float32 [words, dimension]; NaN where there is none."""
        vectors = np.full((len(words), self.matrix.shape[1]), np.nan, dtype=np.float32)
        for position, word in enumerate(words):
            row = self.index.get(word)
            vector = self.compose(word) if row is None else self.matrix[row]
            if vector is not None:
                vectors[position] = vector
        return vectors


class Tests:
    """The tests of one study's vectors; each is prepared when it is first used."""

    def __init__(
        self, spec: DataSpec, data: PreparedData, sentences: Mapping[PartName, Corpus]
    ) -> None:
        self._spec = spec
        self._data = data
        self._sentences = sentences
        self._bags: dict[PartName, _Bag] = {}
        self._gaps: dict[PartName, Gaps] = {}

    def names(self) -> tuple[str, ...]:
        """Return the metrics that this data allows."""
        probe = ("probe_accuracy",) if self._data.kind == "text" else ()
        return (*probe, "gap_accuracy", *vector_benchmarks.METRICS)

    def measure(self, vectors: Vectors, part: PartName, name: str) -> dict[str, float]:
        """Measure a metric; pairs and analogies also give the share whose words have vectors."""
        if name == "probe_accuracy":
            return {name: float(self._probe(vectors, part).mean())}
        if name == "gap_accuracy":
            return {name: self._gaps_of(part).accuracy(vectors)}
        if name == "word_similarity":
            value, coverage = word_similarity(vectors, self._pairs[part])
        else:
            value, coverage = analogy_accuracy(vectors, self._questions[part])
        return {name: value, f"{name}_coverage": coverage}

    def interval(self, vectors: Vectors, part: PartName, name: str) -> list[float]:
        """Compute the 95 % interval of a metric, resampling its gaps, texts, pairs or questions."""
        if name == "word_similarity":
            cosines, ratings, _ = _similarities(vectors, self._pairs[part])
            return bootstrap.interval(
                len(ratings),
                lambda rows: _correlate(cosines[rows.numpy()], ratings[rows.numpy()]),
            )
        if name == "probe_accuracy":
            is_right = self._probe(vectors, part)
        elif name == "gap_accuracy":
            is_right = self._gaps_of(part).answer(vectors)
        else:
            is_right, _ = _answer_analogies(vectors, self._questions[part])
        return bootstrap.interval_of_mean(torch.from_numpy(is_right))

    def _gaps_of(self, part: PartName) -> "Gaps":
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

    def _probe(self, vectors: Vectors, part: PartName) -> Booleans:
        """Classify a part's texts by a linear probe on mean vectors; True where it is right."""
        train, other = self._bag_of("train"), self._bag_of(part)
        scaler = StandardScaler()  # or regularization would depend on the vectors' length
        inputs = scaler.fit_transform(train.average(vectors))
        probe = LogisticRegression(max_iter=PROBE_STEPS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            probe.fit(inputs, train.labels)
        predictions = probe.predict(scaler.transform(other.average(vectors)))
        is_right: Booleans = predictions == other.labels
        return is_right

    def _bag_of(self, name: PartName) -> "_Bag":
        if name not in self._bags:
            limit = PROBE_TEXTS if name == "train" else None
            self._bags[name] = _Bag(self._data, name, self._spec, limit)
        return self._bags[name]


class Gaps:
    """Sentences of a held-out part with a word missing, and ten words to choose from.

    A sentence completion test like the one that skip-gram was measured by (Zweig & Burges, 2011;
    Mikolov et al., 2013): the answer is the word nearest to the mean of those around the gap.
    Distractors are about as frequent as the right word, so that frequency does not help, and chance
    is 0.1. Words are sampled by the square root of their frequency.
    """

    def __init__(self, train: Corpus, heldout: Corpus) -> None:
        rng = np.random.default_rng(0)
        counts = train.counts
        self._words = train.words
        positions = np.flatnonzero(heldout.ids >= 0)
        if len(positions) > GAPS:
            weights = 1 / np.sqrt(counts[heldout.ids[positions]])
            positions = rng.choice(positions, GAPS, replace=False, p=weights / weights.sum())
        by_rank = np.argsort(-counts, kind="stable")
        rank = np.empty_like(by_rank)
        rank[by_rank] = np.arange(len(by_rank))
        self._right = heldout.ids[positions]  # [gaps]
        distractor_ranks = _sample_distractors(rng, rank[self._right], len(by_rank))
        self._distractors = by_rank[distractor_ranks]  # [gaps, GAP_CHOICES - 1]
        self._context = _context(heldout, positions)  # [gaps, 2 * GAP_CONTEXT]
        # a distractor of the context is part of the mean, so it would always be nearest
        self._is_in_context = (self._distractors[:, :, None] == self._context[:, None]).any(axis=2)

    def accuracy(self, vectors: Vectors) -> float:
        """Return the share of gaps that are filled with the right word; 0 without any gap."""
        return int(self.answer(vectors).sum()) / max(len(self._right), 1)

    def answer(self, vectors: Vectors) -> Booleans:
        """Fill the gaps; True where the answer is right."""
        unit = _normalize(vectors.of(self._words))
        has_vector = ~np.isnan(unit[:, 0])
        # the last row is the one of -1: no word
        padded = np.vstack([np.where(has_vector[:, None], unit, 0), np.zeros_like(unit[:1])])
        is_right = np.zeros(len(self._right), dtype=np.bool_)
        for start in range(0, len(self._right), QUESTIONS):
            rows = slice(start, start + QUESTIONS)
            right, distractors = self._right[rows], self._distractors[rows]
            context = padded[self._context[rows]].sum(axis=1)  # [rows, dimension]
            score = (context * padded[right]).sum(axis=1)
            others = np.einsum("gd,god->go", context, padded[distractors])
            # a word without a vector scores 0, and must not win against one that has a vector
            others[~has_vector[distractors] | self._is_in_context[rows]] = -np.inf
            is_right[rows] = (score > others.max(axis=1)) & has_vector[right]
        return is_right


def _sample_distractors(
    rng: np.random.Generator, ranks: npt.NDArray[np.int64], words: int
) -> npt.NDArray[np.int64]:
    """Sample other ranks near each rank, [N, GAP_CHOICES - 1]; some may repeat."""
    window = min(GAP_RANKS, words - 1)
    low = np.clip(ranks - window // 2, 0, words - 1 - window)[:, None]
    samples = low + rng.integers(0, window, size=(len(ranks), GAP_CHOICES - 1))
    return samples + (samples >= ranks[:, None])


def _context(heldout: Corpus, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The words around each position within its sentence, [N, 2 * GAP_CONTEXT]; -1: none."""
    sentence = np.searchsorted(heldout.ends, positions, side="right")
    first = np.concatenate(([0], heldout.ends))[sentence][:, None]
    offsets = np.delete(np.arange(-GAP_CONTEXT, GAP_CONTEXT + 1), GAP_CONTEXT)
    neighbours = positions[:, None] + offsets
    mask = (neighbours >= first) & (neighbours < heldout.ends[sentence][:, None])
    return np.where(mask, heldout.ids[np.where(mask, neighbours, 0)], -1).astype(np.int64)


def word_similarity(
    vectors: Vectors, pairs: Sequence[vector_benchmarks.WordPair]
) -> tuple[float, float]:
    """Correlate cosines with human ratings, by Spearman's coefficient.

    Returns the correlation, 0 where nothing can be ranked (no pairs, or all equal), and the share
    of pairs whose words have vectors.
    """
    cosines, ratings, is_known = _similarities(vectors, pairs)
    return _correlate(cosines, ratings), float(is_known.mean()) if len(is_known) else 0.0


def _similarities(
    vectors: Vectors, pairs: Sequence[vector_benchmarks.WordPair]
) -> tuple[Floats, npt.NDArray[np.float64], Booleans]:
    """Return cosines, human ratings, and which pairs have vectors."""
    first = _normalize(vectors.of([pair.first for pair in pairs]))
    second = _normalize(vectors.of([pair.second for pair in pairs]))
    cosines: Floats = (first * second).sum(axis=1)
    is_known: Booleans = ~np.isnan(cosines)
    cosines[~is_known] = cosines[is_known].mean() if is_known.any() else 0.0
    ratings = np.array([pair.similarity for pair in pairs], dtype=np.float64)
    return cosines, ratings, is_known


def _correlate(cosines: Floats, ratings: npt.NDArray[np.float64]) -> float:
    if not len(ratings) or np.ptp(cosines) == 0 or np.ptp(ratings) == 0:
        return 0.0
    return float(spearmanr(cosines, ratings).statistic)


def analogy_accuracy(
    vectors: Vectors, questions: Sequence[vector_benchmarks.Analogy]
) -> tuple[float, float]:
    """Answer analogies by 3CosAdd (Mikolov et al., 2013).

    The answer is the candidate nearest to `second - first + third` that is none of these three.
    Returns the share of right answers, and the share of questions whose words have vectors.
    """
    if not questions:
        return 0.0, 0.0
    is_right, known = _answer_analogies(vectors, questions)
    return int(is_right.sum()) / len(questions), known / len(questions)


def _answer_analogies(
    vectors: Vectors, questions: Sequence[vector_benchmarks.Analogy]
) -> tuple[Booleans, int]:
    """Return which questions are answered right, and how many have vectors for all words."""
    candidates = _normalize(vectors.matrix[:CANDIDATES])
    is_right = np.zeros(len(questions), dtype=np.bool_)
    known = 0
    for start in range(0, len(questions), QUESTIONS):
        batch = questions[start : start + QUESTIONS]
        first, second, third = (
            _normalize(vectors.of([question[word] for question in batch])) for word in range(3)
        )
        # a zero vector has no direction and is NaN here; no product may be
        scores = np.nan_to_num(second - first + third) @ np.nan_to_num(candidates).T
        for row, question in enumerate(batch):
            if any(np.isnan(vector[row, 0]) for vector in (first, second, third)):
                continue
            for word in question[:3]:
                candidate = vectors.index.get(word, len(candidates))
                if candidate < len(candidates):
                    scores[row, candidate] = -math.inf
            known += question.fourth in vectors.index
            is_right[start + row] = vectors.words[int(scores[row].argmax())] == question.fourth
    return is_right, known


def _normalize(vectors: Floats) -> Floats:
    """Scale vectors to length 1; a zero vector becomes NaN."""
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


class _Bag:
    """The word counts of each text of a part."""

    def __init__(
        self, data: PreparedData, name: PartName, spec: DataSpec, limit: int | None
    ) -> None:
        texts, labels = data.texts(name), np.array(data.part(name).labels)
        if limit is not None and len(texts) > limit:
            rows = np.linspace(0, len(texts) - 1, limit).astype(int).tolist()
            texts, labels = [texts[row] for row in rows], labels[rows]
        encoded = corpus.encode(texts, tokenizer.make_tokenizer(spec))
        self.words = encoded.words
        self.labels = labels
        starts = np.concatenate(([0], encoded.ends))
        ones = np.ones(len(encoded.ids), dtype=np.float32)
        shape = (len(texts), len(encoded.words))
        self._counts = csr_matrix((ones, encoded.ids, starts), shape=shape)

    def average(self, vectors: Vectors) -> Floats:
        """Average the vectors of each text's words, [texts, dimension]; zeros if none has one."""
        word_vectors = vectors.of(self.words)
        has_vector = ~np.isnan(word_vectors[:, 0])
        total = self._counts @ np.where(has_vector[:, None], word_vectors, 0)
        number = self._counts @ has_vector.astype(np.float32)
        averages: Floats = total / np.maximum(number, 1)[:, None]
        return averages
