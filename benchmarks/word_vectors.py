"""Tuned word2vec and fasttext compared with gensim's defaults: `python -m benchmarks.word_vectors`.

The corpus is 300,000 words of Wikipedia that come with gensim. Each contestant is a `tuner run`
study with one worker and one thread, in its own home; the figures are those of the export, measured
on parts that no trial has seen. Prints one table in Markdown.
"""

import argparse
import bz2
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from gensim.corpora.wikicorpus import extract_pages, filter_wiki
from gensim.test.utils import datapath

DUMP = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
WORDS = 300_000
LEAST = 5  # words of a sentence
METRICS = ("gap_accuracy", "word_similarity", "analogy_accuracy")

# of gensim's constructors
DEFAULTS: dict[str, Any] = {
    **{"vector_size": 100, "window": 5, "min_count": 5, "hs": 0, "negative": 5},
    **{"ns_exponent": 0.75, "sample": 1e-3, "alpha": 0.025, "min_alpha": 1e-4},
    **{"batch_words": 10_000, "epochs": 5},
}
SUBWORDS = {"min_n": 3, "max_n": 6, "bucket": 2_000_000}


def write_corpus(path: Path) -> None:
    """Sentences of the articles, one per line, in their order, until there are enough words."""
    count = 0
    with bz2.open(datapath(DUMP)) as dump, path.open("w", encoding="utf-8") as out:
        for _, text, _ in extract_pages(dump, filter_namespaces=("0",)):
            for line in filter_wiki(text).splitlines():
                for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", line.strip(" *#:;=|{}")):
                    words = len(re.findall(r"\w+", sentence))
                    if words < LEAST:
                        continue
                    if (count := count + words) >= WORDS:
                        return
                    out.write(sentence.strip() + "\n")


def run(folder: Path, family: str, trials: int, search: dict[str, Any]) -> dict[str, float]:
    """Every metric of the test part, of the best of so many trials."""
    name = f"{family}-{trials}-{search.get('sg', 'any')}"
    study = {
        "name": name,
        "family": family,
        "data": {"path": "wiki.txt", "split": {"validation": 0.03, "test": 0.03}},
        "budget": {"trials": trials},
        "resources": {"threads": 1, "workers": 1},
        "search": search,
    }
    file = folder / f"{name}.yaml"
    file.write_text(json.dumps(study))
    command = [sys.executable, "-m", "tuner", "run", str(file), "--json"]
    environment = {**os.environ, "TUNER_HOME": str(folder / "home")}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, check=True, text=True
    )
    test: dict[str, float] = json.loads(done.stdout)["best"]["test"]
    return test


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--family", choices=("word2vec", "fasttext"), default="word2vec")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuner-benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # root's server runs as another user
        write_corpus(folder / "wiki.txt")
        defaults = DEFAULTS | (SUBWORDS if asked.family == "fasttext" else {})
        rows = {
            "gensim's defaults (CBOW)": run(folder, asked.family, 1, {**defaults, "sg": 0}),
            "gensim's defaults, skip-gram": run(folder, asked.family, 1, {**defaults, "sg": 1}),
            f"tuned, {asked.trials} trials": run(folder, asked.family, asked.trials, {}),
        }
    print("| |" + "".join(f" {metric} |" for metric in METRICS))
    print("|---|" + "---|" * len(METRICS))
    for row, measured in rows.items():
        print(f"| {row} |" + "".join(f" {measured[metric]:.3f} |" for metric in METRICS))


if __name__ == "__main__":
    main()
