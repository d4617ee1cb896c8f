"""The families that need more than a table and classes, from study file to repeated export."""

import json
from pathlib import Path

import pytest

from tests.support import pretrained_models
from tests.support.commands import ok, repeated_as_exported, tuner
from tests.support.training import SENTENCES
from tuner.families import default_configuration, resolve
from tuner.study_file.load import load

PRETRAINED = """
name: tuned
family: pretrained
data: {path: reviews.csv}
budget: {trials: 2, epochs: 2}
search: {checkpoint: [small, large], fine_tuning: [frozen, lora], lora_rank: 4}
enqueue: [{checkpoint: small, fine_tuning: lora}]
pruner: none
resources: {device: cpu, workers: 1, threads: 1}
"""
SEQ2SEQ = """
name: spoken
family: seq2seq
data: {source: cmudict, examples: 300}
objective: {metric: token_error_rate}
budget: {trials: 2, epochs: 2}
search: {hidden: 64, embedding_size: 32, layers: 1, beam: [1, 2]}
pruner: none
resources: {device: cpu, workers: 1, threads: 1}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study on two tiny models, in a folder with its data."""
    rows = [
        f'"{text} {number}",{label}'
        for number in range(10)
        for label, texts in SENTENCES.items()
        for text in texts
    ]
    (tmp_path / "reviews.csv").write_text("text,label\n" + "\n".join(rows), encoding="utf-8")
    pretrained_models.bert(tmp_path / "small")
    pretrained_models.bert(tmp_path / "large", hidden=64)
    path = tmp_path / "tuned.yaml"
    path.write_text(PRETRAINED, encoding="utf-8")
    return path


def test_a_pretrained_model_is_tuned_and_repeated(
    study: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    repeated_as_exported(study, "tuned", environment, tmp_path)


def test_what_takes_too_long_is_left_out_and_said(
    study: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    def launch(*more: str) -> str:
        done = tuner("launch", str(study), *more, environment=environment, cwd=tmp_path)
        return f"{done.returncode} {done.stderr}"

    limited = launch("--set", "resources.epoch_seconds=1e-9")
    assert limited.startswith("0 ")
    assert limited.count(", lora: an epoch takes about") == 2
    stored = json.loads(tuner("show", "tuned", "--json", environment=environment).stdout)
    space = {p["name"]: p for p in stored["spec"]["space"]["parameters"]}
    assert space["fine_tuning"]["choices"] == ["frozen"]
    nothing = launch("--name", "other", "--set", "resources.memory=1e-3")
    assert nothing.startswith("2 ")
    assert "tuned.yaml:6: search.checkpoint: left out: " in nothing
    assert "does not fit into 0.001 GiB of memory" in nothing


def test_sequences_are_tuned_and_repeated(environment: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "spoken.yaml"
    file.write_text(SEQ2SEQ, encoding="utf-8")
    repeated_as_exported(file, "spoken", environment, tmp_path)
    first, second = ok("trials", "spoken", "--json", environment=environment, cwd=tmp_path)
    begun_with = default_configuration(resolve(load(file)))
    assert set(begun_with) >= {"learning_rate", "cell", "dropout"}
    assert first["params"] == first["params"] | begun_with
    assert second["params"]["learning_rate"] != begun_with["learning_rate"]
