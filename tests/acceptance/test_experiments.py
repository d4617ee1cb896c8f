"""One file that names several families: a study of each, compared, the best exported."""

import json
from pathlib import Path
from typing import Any

from tests.support.commands import tuner
from tests.support.studies import quick
from tests.support.training import SENTENCES

FILE = """
name: reviews
family:
  tfidf:
  bow: {budget: {trials: 2}, search: {analyzer: word}}
data: {path: reviews.csv}
budget: {trials: 3, epochs: 2}
search: {hidden: 0, idf: true}
resources: {device: cpu, threads: 1, workers: 1}
"""


def ok(*arguments: str, environment: dict[str, str], cwd: Path) -> str:
    done = tuner(*arguments, environment=environment, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_families_are_tuned_compared_and_the_best_is_exported(
    environment: dict[str, str], tmp_path: Path
) -> None:
    rows = [
        f'"{sentence} {number}",{label}'
        for number in range(12)
        for label, sentences in SENTENCES.items()
        for sentence in sentences
    ]
    (tmp_path / "reviews.csv").write_text("text,label\n" + "\n".join(rows), encoding="utf-8")
    file = tmp_path / "reviews.yaml"
    file.write_text(FILE, encoding="utf-8")
    run: Any = {"environment": environment, "cwd": tmp_path}

    result = json.loads(ok("run", str(file), "--json", **run))
    studies = result["experiment"]["studies"]
    counts = {s["name"]: sum(s["counts"].values()) for s in studies}
    assert counts == {"reviews-tfidf": 3, "reviews-bow": 2}
    assert len({s["data_fingerprint"] for s in studies}) == 1
    assert {s["experiment"] for s in studies} == {"reviews"}
    values = [s["best"]["values"][0] for s in studies]
    assert values == sorted(values, reverse=True)
    assert all(s["top"][0] == s["best"]["values"][0] for s in studies)
    assert all(s["parameters"] == s["best"]["user_attrs"]["parameters"] > 0 for s in studies)
    assert result["study"]["name"] == studies[0]["name"]
    exported = json.loads((tmp_path / "exports" / "reviews" / "result.json").read_text())
    assert exported["study"] == studies[0]["name"]

    each = json.loads(ok("export", "reviews", "--json", **run))
    assert [one["family"] for one in each] == ["tfidf", "bow"]
    assert all("test" in one["metric"] for one in each)
    for one in each:
        told = json.loads((tmp_path / one["export"] / "result.json").read_text())
        assert told == {k: v for k, v in one.items() if k != "export"}
    families = tmp_path / "exports" / "reviews-families"
    assert sorted(f.name for f in families.iterdir()) == ["bow", "tfidf"]
    ok("export", "reviews", "--force", **run)
    (families / "mine").write_text("")
    page = tmp_path / json.loads(ok("report", "reviews", "--json", **run))["report"]
    assert "best so far by trials" in page.read_text(encoding="utf-8").lower()

    shown = ok("show", "reviews", **run)
    assert "2 families, maximize accuracy" in shown
    assert shown.index(studies[0]["name"]) < shown.index(studies[1]["name"])
    assert "show reviews" in ok("show", "reviews-bow", **run)

    again = tuner("run", str(file), "--set", "family.tfidf.budget.trials=4", **run)
    assert again.returncode == 0, again.stderr
    assert "changed: budget.trials: 3 → 4" in again.stderr
    assert "\nall families together took " in again.stdout
    assert "\n  its trials took " in again.stdout  # not the seconds of the other's turns

    for arguments, expected in (
        (("enqueue", "reviews", "hidden=0"), "it is an experiment: name one of"),
        (("export", "reviews", "--force"), "holds more than an export"),
        (("export", "reviews", "--top", "2"), "so the best of each family is exported"),
        (("pause", "reviews"), "is finished"),
        (("launch", str(file)), "exists already"),
        (("launch", str(file), "--set", "family=bow"), "an experiment is named `reviews`"),
        (("launch", str(file), "--name", "reviews-bow"), "a study is named `reviews-bow`"),
        (
            ("run", str(file), "--set", "family=[bow]", "--set", "objective.metric=f1_macro"),
            "on other data or by another metric",
        ),
    ):
        refused = tuner(*arguments, **run)
        assert (refused.returncode, expected in refused.stderr) == (2, True), refused.stderr

    ok("launch", str(file), "--name", "again", **run)
    nothing = tuner("export", "again", "--to", "again", **run)
    assert (nothing.returncode, (tmp_path / "again").exists()) == (2, False)
    assert "has no complete trial, so there is no best one (no trials at all); the others" in (
        nothing.stderr
    )
    ok("stop", "again-bow", **run)
    paused = json.loads(ok("pause", "again", "--json", **run))
    assert [s["name"] for s in paused["studies"]] == ["again-tfidf"]
    assert ok("resume", "again", **run).startswith("again-tfidf: active; ")
    refused = tuner("delete", "again", "--yes", **run)  # one is active: none is deleted
    assert (refused.returncode, "is active" in refused.stderr) == (2, True), refused.stderr
    ok("stop", "again", **run)
    assert "deleted again-bow with 0 trials" in ok("delete", "again", "--yes", **run)
    assert "again" not in ok("list", **run)


def test_several_objectives_have_a_front_and_every_trial_its_costs(
    environment: dict[str, str], tmp_path: Path
) -> None:
    file = quick(tmp_path, "both", trials=9, filters=0)
    text = file.read_text(encoding="utf-8").replace("filters: 0", "filters: [2, 16]")
    pruner = "pruner: {name: rungs, startup_trials: 3}"
    text = text.replace(pruner, "pruner: none\nsampler: {startup_trials: 4}")
    file.write_text(text + "objective: {metric: [accuracy, parameters, peak_memory]}\n")
    run: Any = {"environment": environment, "cwd": tmp_path}
    ok("run", str(file), "--json", **run)
    trials = json.loads(ok("trials", "both", "--json", **run))
    assert {t["state"] for t in trials} == {"complete"}
    for trial in trials:
        _, parameters, memory = trial["values"]
        costs = trial["user_attrs"]
        assert (parameters, memory) == (costs["parameters"], costs["peak_memory"])
        assert costs["latency"] > 0
        assert costs["training_seconds"] > 0
    sizes = {t["params"]["filters"]: t["values"][1] for t in trials}
    assert len(sizes) == 2
    assert sizes[2] < sizes[16]
    shown = json.loads(ok("show", "both", "--json", **run))
    front = [t["values"] for t in shown["pareto_front"]]
    assert min(t["values"][1] for t in trials) in {values[1] for values in front}
    assert max(t["values"][0] for t in trials) == front[0][0]
    assert "Pareto front" in ok("show", "both", **run)
    header = ok("trials", "both", "--format", "csv", **run).splitlines()[0]
    assert header.startswith("number,state,accuracy,parameters,peak_memory,epochs")
    smallest = shown["pareto_front"][-1]["number"]
    exported = ok("export", "both", "--trial", str(smallest), "--to", "small", "--json", **run)
    assert json.loads(exported)["trial"] == smallest
