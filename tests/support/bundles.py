"""Bundles of every family, made of trainings of a second, without a study's database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import pretrained_models
from tests.support.training import SENTENCES
from tuner import artifacts, families
from tuner.data import prepare
from tuner.data.source_files import locate_packaged
from tuner.export import BundleOptions, Exported, export
from tuner.families.bundle import evaluate, requests, retrain
from tuner.settings import Settings
from tuner.study_file.load import load
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.seeds import trial_seed
from tuner.training.cohort import Cohort, Task
from tuner.trials import Report, Study, StudyState, Trial, TrialState

NETWORK = "learning_rate: 0.01, batch_size: 32, optimizer: adam, schedule: cosine"
WORDS = "batch_words: 3000, vector_size: 16, min_count: 1"
BAG = "learning_rate: 0.05, batch_size: 16, optimizer: adam, hidden: 0, min_df: 1, max_df: 1.0"
TUNED = "checkpoint: {model}, learning_rate: 0.01, batch_size: 16, head: linear, pooling: mean"

# name → family, data, search
STUDIES = {
    "cnn": ("cnn", "digits", f"{NETWORK}, depth: 1, filters: 16, kernel: 3, batch_norm: true"),
    "text_cnn": (
        *("text_cnn", "{path: reviews.csv, vectors: vectors.txt}"),
        f"{NETWORK}, filters: 8, embeddings: multichannel",
    ),
    "rnn": ("rnn", "{path: reviews.csv}", f"{NETWORK}, hidden: 16, pooling: attention"),
    "transformer": (
        *("transformer", "{path: reviews.csv}"),
        f"{NETWORK}, layers: 1, heads: 2, head_width: 8, feed_forward: 2",
    ),
    "bow": ("bow", "{path: reviews.csv}", f"{BAG}, analyzer: word, word_ngrams: 1-2"),
    "tfidf": ("tfidf", "{path: reviews.csv}", f"{BAG}, analyzer: character, sublinear_tf: true"),
    "pretrained": (
        *("pretrained", "{path: reviews.csv}"),
        TUNED.format(model="./bert") + ", fine_tuning: lora, lora_rank: 4",
    ),
    "seq2seq": (
        *("seq2seq", "{source: cmudict, examples: 200}"),
        "learning_rate: 0.01, batch_size: 32, hidden: 16, embedding_size: 16, layers: 1, beam: 2",
    ),
    "word2vec": ("word2vec", "{path: news.txt}", WORDS),
    "fasttext": ("fasttext", "{path: news.txt}", f"{WORDS}, bucket: 500"),
    # other ways of the same families
    "static vectors": (
        *("rnn", "{path: reviews.csv, vectors: vectors.txt}"),
        f"{NETWORK}, hidden: 16, embeddings: static",
    ),
    "frozen": (
        *("pretrained", "{path: reviews.csv}"),
        TUNED.format(model="./bert") + ", fine_tuning: frozen",
    ),
    "one that reads forward": (
        *("pretrained", "{path: reviews.csv}"),
        TUNED.format(model="./gpt2").replace("mean", "cls") + ", fine_tuning: lora, lora_rank: 4",
    ),
    "images": (
        *("pretrained", "{path: images.npz}"),
        TUNED.format(model="./resnet") + ", fine_tuning: lora, lora_rank: 4",
    ),
    "n-grams of characters": (
        *("tfidf", "{path: reviews.csv, tokens: characters}"),
        f"{BAG}, analyzer: word, word_ngrams: 1-3",
    ),
    "characters": (
        *("text_cnn", "{path: reviews.csv, tokens: characters}"),
        f"{NETWORK}, filters: 8",
    ),
    "characters of a corpus": ("word2vec", "{path: news.txt, tokens: characters}", WORDS),
    "attention": (
        *("seq2seq", "{source: cmudict, examples: 200}"),
        "learning_rate: 0.01, batch_size: 32, hidden: 16, layers: 2, beam: 1, attention: luong",
    ),
    "numbers": (
        *("text_cnn", "{path: reviews.csv, label: length, task: regression}"),
        f"{NETWORK}, filters: 8",
    ),
    "numbers of terms": ("bow", "{path: reviews.csv, label: length, task: regression}", BAG),
    "numbers of images": (
        *("cnn", "{path: images.npz, task: regression}"),
        f"{NETWORK}, depth: 1, filters: 16, kernel: 3",
    ),
    "numbers of a frozen encoder": (
        *("pretrained", "{path: reviews.csv, label: length, task: regression}"),
        TUNED.format(model="./bert") + ", fine_tuning: frozen",
    ),
    "words of texts": ("fasttext", "{path: reviews.csv}", f"{WORDS}, bucket: 500"),
}


@dataclass(frozen=True)
class Made:
    """A bundle and what it was made of."""

    family: str
    folder: Path
    study: Study
    trial: Trial
    settings: Settings
    exported: Exported


def write_data(folder: Path) -> None:
    """The files that the studies name."""
    import numpy as np

    rows = [
        f'"{text} {number}, Ça va?",{label},{len(text) / 7}'
        for number in range(12)
        for label, texts in SENTENCES.items()
        for text in texts
    ]
    (folder / "reviews.csv").write_text("text,label,length\n" + "\n".join(rows), encoding="utf-8")
    lines = locate_packaged("lee").read_bytes().splitlines(keepends=True)
    (folder / "news.txt").write_bytes(b"".join(lines[:60]))
    words = pretrained_models.WORDS.split()[4:]
    vectors = np.random.default_rng(0).normal(size=(len(words), 12))
    text = "\n".join(f"{w} " + " ".join(map(str, v)) for w, v in zip(words, vectors, strict=True))
    (folder / "vectors.txt").write_text(text)
    images = np.random.default_rng(0).integers(0, 256, (60, 20, 16, 3), dtype=np.uint8)
    np.savez(folder / "images.npz", x=images, y=np.arange(60) % 2)
    pretrained_models.bert(folder / "bert")
    pretrained_models.gpt2(folder / "gpt2")
    pretrained_models.resnet(folder / "resnet")


def make(name: str, folder: Path, *, options: BundleOptions | None = None) -> Made:
    """Train the configuration and export it, in this process."""
    family, data, search = STUDIES[name]
    file = folder / f"{name}.yaml"
    file.write_text(
        f"name: {name}\nfamily: {family}\ndata: {data}\nbudget: {{trials: 1, epochs: 2}}\n"
        f"search: {{{search}}}\nresources: {{device: cpu, threads: 1}}\n",
        encoding="utf-8",
    )
    spec = families.resolve(load(file))
    assert spec.data is not None
    settings = Settings(home=folder / "home")
    prepared = prepare(spec.data, settings.data_cache)
    drawn = {n: p.low for n, p in spec.space.parameters.items() if hasattr(p, "low")}
    drawn |= {n: p.choices[0] for n, p in spec.space.parameters.items() if hasattr(p, "choices")}
    params = {n: v for n, v in drawn.items() if spec.space.is_active(n, drawn | _pinned(spec))}
    number = list(STUDIES).index(name) + 1
    study = Study(
        name=name,
        state=StudyState.FINISHED,
        directions=(spec.objective.direction,),
        metrics=(spec.objective.metric,),
        family=family,
        spec=spec.as_json(),
        max_trials=1,
        data_fingerprint=prepared.fingerprint,
        id=number,
    )
    task = Task(
        number=0,
        attempt=1,
        params=spec.space.complete(params),
        seed=trial_seed(spec, 0),
        folder=artifacts.attempt_folder(settings, number, 0, 1),
    )
    cohort = Cohort(
        study=name,
        family=family,
        data=spec.data.model_dump(mode="json"),
        fingerprint=prepared.fingerprint,
        metric=spec.objective.metric,
        direction=spec.objective.direction,
        epochs=2,
        early_stop=None,
        precision="auto",
        device="cpu",
        threads=1,
        cache=settings.data_cache,
        tasks=(task,),
    )
    value = retrain.retrain(cohort).value
    assert value is not None
    trial = Trial(
        number=0,
        state=TrialState.COMPLETE,
        params=params,
        values=(value,),
        reports=(Report(2, value),),
        attempt=1,
        user_attrs={"device": "cpu", "threads": 1},
    )
    bundle = folder / f"bundle {name}"
    exported = export(study, trial, bundle, settings, options=options)
    return Made(family, bundle, study, trial, settings, exported)


def predictions(made: Made, inputs: Path) -> Sequence[Mapping[str, Any]]:
    """What the training code predicts for examples, which are written to a file."""
    spec = ResolvedSpec.from_json(made.study.spec or {})
    assert spec.data is not None
    request = requests.Evaluate(
        family=made.family,
        params=made.exported.content["params"],
        data=spec.data,
        fingerprint=made.study.data_fingerprint,
        cache=made.settings.data_cache,
        metric=made.study.metric,
        weights=made.folder / artifacts.WEIGHTS_FILE,
        parts=[],
        sample=requests.Sample(rows=100, path=inputs),
    )
    return evaluate.evaluate(request).predictions


def _pinned(spec: Any) -> dict[str, Any]:
    return {n: p.value for n, p in spec.space.parameters.items() if hasattr(p, "value")}
