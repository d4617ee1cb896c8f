"""Words → the words nearest to them, by word vectors."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gensim.models import KeyedVectors
from gensim.models.fasttext import ft_ngram_hashes

from tuner.data.tokenizer import tokens
from tuner.families.bundle.predict.common import Answer, answer, opened, read_tensors
from tuner.families.bundle.predict.tables import lines_of
from tuner.families.parts.word_vectors import NEAREST


def run(folder: Path) -> None:
    """The program."""
    content, params = opened(folder)
    known = KeyedVectors.load_word2vec_format(folder / "vectors.txt")
    ngrams = None
    if "max_n" in params:
        ngrams = read_tensors(folder / "weights.safetensors")["ngrams"].numpy()

    def vector(word: str) -> Any:
        """The word's vector, of its letters where there is none of its own; None without any."""
        if word in known:
            return known[word]
        if ngrams is None:
            return None
        hashes = ft_ngram_hashes(word, params["min_n"], params["max_n"], len(ngrams))
        return ngrams[hashes].mean(axis=0) if hashes else None

    def answers(lines: Sequence[str]) -> Iterator[Answer]:
        for line in lines:
            words = tokens(line, lowercase=content["lowercase"], kind=content["tokens"])
            vectors = [found for word in words if (found := vector(word)) is not None]
            if not vectors:
                yield {"words": words, "nearest": {}}
                continue
            mean = sum(vectors) / len(vectors)
            ranked = known.similar_by_vector(mean, topn=NEAREST + len(words))
            others = [(word, share) for word, share in ranked if word not in words]
            yield {"words": words, "nearest": {w: float(s) for w, s in others[:NEAREST]}}

    answer(answers, lines_of, content["column"], "words or texts: tables, or files, one a line")
