"""Words → the words nearest to them, by word vectors."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gensim.models import KeyedVectors
from gensim.models.fasttext import ft_ngram_hashes

from tuner.data.tokenizer import tokenize
from tuner.families.bundle.predict.common import Prediction, open_bundle, read_tensors, serve
from tuner.families.bundle.predict.tables import lines_of
from tuner.families.parts.word_vectors import NEAREST


def run(folder: Path) -> None:
    """Predict with the bundle in `folder`."""
    content, params = open_bundle(folder)
    word_vectors = KeyedVectors.load_word2vec_format(folder / "vectors.txt")
    ngrams = None
    if "max_n" in params:
        ngrams = read_tensors(folder / "weights.safetensors")["ngrams"].numpy()

    def vector_of(word: str) -> Any:
        """Look up the word's vector, or compose it of its n-grams; None if there is neither."""
        if word in word_vectors:
            return word_vectors[word]
        if ngrams is None:
            return None
        hashes = ft_ngram_hashes(word, params["min_n"], params["max_n"], len(ngrams))
        return ngrams[hashes].mean(axis=0) if hashes else None

    def predict_lines(lines: Sequence[str]) -> Iterator[Prediction]:
        for line in lines:
            words = tokenize(line, lowercase=content["lowercase"], kind=content["tokens"])
            vectors = [vector for word in words if (vector := vector_of(word)) is not None]
            if not vectors:
                yield {"words": words, "nearest": {}}
                continue
            mean = sum(vectors) / len(vectors)
            ranked = word_vectors.similar_by_vector(mean, topn=NEAREST + len(words))
            others = [(word, cosine) for word, cosine in ranked if word not in words]
            yield {"words": words, "nearest": {w: float(c) for w, c in others[:NEAREST]}}

    serve(
        predict_lines,
        lines_of,
        content["column"],
        "words or texts: tables, or files with one per line",
    )
