import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from html.parser import HTMLParser
from typing import Any

import pytest
from plotly.offline import get_plotlyjs

from tests.support import synthetic
from tuner.commands.experiments import summarize
from tuner.commands.reading import Overview
from tuner.figures import theme
from tuner.report import document
from tuner.report.inputs import ReportInputs
from tuner.trials import Study, StudyState, Trial, TrialState, best_trial

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SCRIPT = "</script><script>alert(1)</script>"
IMAGE = '<img src="https://evil.example/x" onerror="alert(1)">'
VOID = {"meta", "br", "img", "link", "input", "path", "circle", "hr", "base", "source"}
PAIRS = ["pair-1", "pair-2", "pair-3"]
FIGURES = ["history", "curves", "spending", "importance", *PAIRS, "parallel", "slices"]


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    text: str = ""
    within: tuple[str, ...] = ()


@dataclass
class Page(HTMLParser):
    """The elements of a page, and whether their ends match."""

    elements: list[Element] = field(default_factory=list)
    open: list[Element] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs), within=tuple(e.tag for e in self.open))
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1].tag != tag:
            self.errors.append(f"</{tag}> at {self.getpos()}")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data

    def all(self, tag: str) -> list[Element]:
        return [e for e in self.elements if e.tag == tag]

    def by_id(self, id_: str) -> Element:
        return next(e for e in self.elements if e.attributes.get("id") == id_)


def _inputs(study: Study, trials: Sequence[Trial], **changes: Any) -> ReportInputs:
    defaults: dict[str, Any] = {
        "best": best_trial(trials, study.direction),
        "best_yaml": synthetic.BEST_YAML,
        "importances": synthetic.IMPORTANCES,
        "log_params": synthetic.LOG,
        "space": synthetic.SPACE,
        "attempts": synthetic.attempts(trials),
        "now": NOW,
    }
    return ReportInputs(study, trials, **{**defaults, **changes})


def _render(
    study: Study,
    trials: Sequence[Trial],
    versions: Mapping[str, str] = synthetic.VERSIONS,
    **changes: Any,
) -> str:
    return document.render_study(_inputs(study, trials, **changes), versions=versions)


def _parsed(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    assert not page.errors
    assert not page.open
    return page


def _payload(page: Page) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(page.by_id("payload").text)
    return content


def _hostile(trial: Trial) -> Trial:
    renamed = {
        f"{SCRIPT}{IMAGE}": trial.params["dropout"],
        "<!--": trial.params["learning_rate"],
        "{{ 7 * 7 }}\ud800\u202e": f"{IMAGE}{trial.params['optimizer']}",
    }
    return replace(trial, params=renamed, message=f"{SCRIPT}{IMAGE}", worker=IMAGE)


@pytest.fixture(scope="module")
def html() -> str:
    return _render(synthetic.study(), synthetic.trials(40))


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return _parsed(html)


@pytest.fixture(scope="module")
def hostile() -> Page:
    names = f"{SCRIPT}{IMAGE}"
    study = synthetic.study(
        name=names,
        metric=f"<b>{IMAGE}</b>",
        family=names,
        reason=names,
        data_fingerprint=names,
        spec={
            **(synthetic.study().spec or {}),
            "data": {"source": names, "path": names, "split": {"validation": 0.1}},
            "sampler": {"name": names},
            "pruner": {"name": names},
            "training": {names: names},
        },
    )
    return _parsed(
        _render(
            study,
            [_hostile(t) for t in synthetic.trials(40)],
            importances={"<!--": 0.5, names: 0.4, "<script>": 0.1},
            space={names: names},
            best_yaml=names,
            versions={names: names},
        )
    )


def test_plotly_is_embedded_once(html: str) -> None:
    assert html.count(get_plotlyjs()) == 1
    assert html.count("* plotly.js v") == 1


def test_nothing_is_loaded(page: Page) -> None:
    for element in page.elements:
        assert element.tag not in ("link", "iframe", "object", "embed", "img", "base")
        for name in ("src", "srcset", "data", "action", "poster", "background"):
            assert name not in element.attributes
        href = element.attributes.get("href")
        assert href is None or href.startswith("#")
    style = "".join(e.text for e in page.all("style"))
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_allows_its_own_scripts_and_nothing_else(page: Page) -> None:
    policy = next(
        e.attributes["content"]
        for e in page.all("meta")
        if e.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "connect-src" not in rules
    scripts = [e.text for e in page.all("script") if "type" not in e.attributes]
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'"
        for s in scripts
    ]
    # `unsafe-eval`: Plotly's WebGL, which draws the parallel coordinates, compiles its calls
    assert rules["script-src"].split() == [*hashes, "'unsafe-eval'"]


def test_nothing_is_offered_to_a_cloud(page: Page) -> None:
    config = _payload(page)["config"]
    assert config["showSendToCloud"] is False
    assert config["displaylogo"] is False
    assert '"showSendToCloud": false' in page.by_id("payload").text


def test_every_figure_has_a_caption_and_a_table(page: Page) -> None:
    assert list(_payload(page)["figures"]) == FIGURES
    assert [e.attributes["id"] for e in page.all("figure")] == FIGURES
    assert len(page.all("figcaption")) == len(FIGURES)
    assert sum("figure" in e.within for e in page.all("details")) == len(FIGURES)
    drawings = [e.attributes.get("data-figure") for e in page.elements]
    assert [d for d in drawings if d] == FIGURES
    assert not any(e.attributes.get("role") == "img" for e in page.elements)


def test_both_schemes_have_every_colour(page: Page) -> None:
    assert _payload(page)["dark"] == theme.dark_of()
    style = page.all("style")[0].text
    assert "prefers-color-scheme: dark" in style
    for name, colour in theme.LIGHT.variables().items():
        assert f"--{name}: {colour};" in style
        assert f"--{name}: {theme.DARK.variables()[name]};" in style


def test_ids_are_unique_and_links_lead_somewhere(page: Page) -> None:
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        assert (link.attributes["href"] or "").removeprefix("#") in ids
    for button in page.all("button"):
        assert button.attributes["data-copy"] in ids


def test_the_page_tells_the_study(page: Page) -> None:
    body = re.sub(r"\s+", " ", page.all("main")[0].text)
    assert page.all("h1")[0].text == "digits-cnn"
    header = page.all("header")[0].text
    assert "finished" in header
    assert "the budget of 40 trials is used" in header
    for text in (
        "14 complete21 pruned5 failed",
        "40 / 40",
        "0.9771",
        "323 epochs run of 700",
        "Pruning saved 377 (54 %)",
        "9f2c5a1e7b34d806",
        "TPE, after 10 startup trials",
        "2026-11-03 09:30 UTC",
        "2026-11-24 12:00 UTC",
        "tuner export digits-cnn",
        "out of memory",
        "ValueError: expected 10 classes, the labels have 11",
        "0.5 … 0.99 when optimizer is sgd",
    ):
        assert text in body, text
    assert page.by_id("best-yaml").text == synthetic.BEST_YAML
    assert json.loads(page.by_id("spec").text) == synthetic.study().spec


def test_the_top_trials_are_sorted(page: Page) -> None:
    table = next(e for e in page.all("table") if e.attributes.get("class") == "top")
    results = [e.text for e in page.all("td") if e.attributes.get("class") == "result"]
    assert len(results) == 14
    assert results == sorted(results, key=float, reverse=True)
    assert "learning_rate" in table.text


def test_hostile_names_are_shown_and_do_nothing(hostile: Page) -> None:
    assert len(hostile.all("script")) == 3
    assert not hostile.all("img")
    for element in hostile.elements:
        assert not any(name.startswith("on") for name in element.attributes)
    assert hostile.all("h1")[0].text == f"{SCRIPT}{IMAGE}"
    assert hostile.by_id("best-yaml").text == f"{SCRIPT}{IMAGE}"
    assert f"{SCRIPT}{IMAGE}" in next(
        e.text for e in hostile.all("td") if e.attributes.get("class") == "message"
    )
    assert "49" not in [e.text for e in hostile.all("th")]


def test_hostile_names_do_not_end_the_payload(hostile: Page) -> None:
    text = hostile.by_id("payload").text
    assert not set("<>&") & set(text)
    assert list(_payload(hostile)["figures"]) == FIGURES


def test_lone_surrogates_can_be_written() -> None:
    study = synthetic.study(name="a\ud800b", reason="\udfff")
    html = _render(study, [], best_yaml="x: \ud800\n")
    assert "a�b" in _parsed(html).all("h1")[0].text
    html.encode()


@pytest.mark.parametrize(
    ("how_many", "missing"), [(0, "10 more trials"), (1, "9 more trials"), (9, "1 more trial")]
)
def test_without_enough_trials_it_says_how_many_importance_needs(
    how_many: int, missing: str
) -> None:
    trials = synthetic.trials(how_many, prune=False, fail=False)
    page = _parsed(_render(synthetic.study(), trials, importances=None))
    assert f"{missing} must end" in page.by_id("importance").text
    assert "importance" not in _payload(page)["figures"]


def test_importance_may_fail_with_many_trials() -> None:
    page = _parsed(_render(synthetic.study(), synthetic.trials(40), importances=None))
    assert "differ too little" in page.by_id("importance").text


def test_a_study_without_trials() -> None:
    study = synthetic.study(state=StudyState.ACTIVE, finished_at=None)
    page = _parsed(_render(study, [], importances=None, best_yaml=None))
    assert _payload(page)["figures"] == {}
    text = page.all("main")[0].text
    assert "no best configuration" in text
    assert "No trial has reported a value yet." in text
    assert "tuner export" not in text


@pytest.mark.parametrize("state", [TrialState.FAILED, TrialState.PRUNED, TrialState.RUNNING])
def test_a_study_without_complete_trials(state: TrialState) -> None:
    trials = [replace(t, state=state) for t in synthetic.trials(12)]
    page = _parsed(_render(synthetic.study(), trials, importances=None, best_yaml=None))
    assert "no best configuration" in page.all("main")[0].text
    assert "history" in _payload(page)["figures"]


def test_a_study_made_through_optuna() -> None:
    study = replace(
        synthetic.study(),
        family=None,
        spec=None,
        max_trials=None,
        metrics=(),
        directions=("maximize", "minimize"),
        created_at=None,
        data_fingerprint=None,
    )
    page = _parsed(
        _render(study, synthetic.trials(20), space={}, importances=None, log_params=frozenset())
    )
    text = page.all("main")[0].text
    assert "tried: 32, 64, 128, 256" in text
    assert "made through Optuna" in text
    assert "Saved by pruning" not in text
    assert "first of 2 objectives" in page.all("header")[0].text


@pytest.mark.parametrize(
    "spec",
    [{}, {"budget": None, "pruner": None}, {"budget": {}, "data": 3, "space": {"parameters": 1}}],
)
def test_a_study_stored_by_another_version(spec: Mapping[str, Any]) -> None:
    study = replace(synthetic.study(), spec=spec)
    page = _parsed(_render(study, synthetic.trials(20)))
    assert "None" not in page.all("main")[0].text


@pytest.mark.slow
def test_5000_trials_stay_quick_and_small() -> None:
    trials = synthetic.trials(5_000)
    _render(synthetic.study(), [])  # reads the template and plotly.js
    study = synthetic.study(max_trials=5_000)
    html = _render(study, trials)
    few, all_ = (synthetic.calls(partial(_render, study, some)) for some in (trials[:500], trials))
    assert all_ < 15 * few
    assert len(html.encode()) - len(get_plotlyjs().encode()) < 1_500_000


def test_the_page_is_the_same_for_the_same_study(html: str) -> None:
    assert _render(synthetic.study(), synthetic.trials(40)) == html


CONTEST = {
    "at": "2026-11-20",
    "study": "digits-cnn-confirm",
    "winner": 7,
    "best_mean": 7,
    "seeds": 3,
    "margin": 0.0025,
    "margin_given": False,
    "bound": 0.01234,
    "candidates": [
        {
            "number": number,
            "searched": searched,
            "values": values,
            "failed": failed,
            "seconds": 20.0 if values else None,
            "mean": sum(values) / len(values) if values else None,
            "interval": [min(values) - 0.01, max(values) + 0.01] if values else None,
            "overstated_by": None,
            "standing": standing,
            "cheaper": False,
        }
        for number, searched, values, failed, standing in (
            (7, 0.971, [0.96, 0.965, 0.9625], 0, "wins"),
            (3, 0.977, [0.957, 0.963, 0.96], 0, "not told apart"),
            (9, 0.97, [], 2, "failed"),
        )
    ],
}


def test_a_confirmation_and_a_front_are_told() -> None:
    study = synthetic.study(directions=("maximize", "minimize"), metrics=("accuracy", IMAGE))
    trials = [
        replace(t, values=(t.values[0], float(t.number % 5))) if t.values else t
        for t in synthetic.trials(40)
    ]
    page = _parsed(_render(study, trials, confirmation=CONTEST))
    assert list(_payload(page)["figures"])[:2] == ["confirmation", "pareto-1"]
    text = page.by_id("confirmation").text
    assert "Trial 7 wins with the best mean of 3 fresh seeds." in text
    assert "Not told apart from the best mean: trial 3." in text
    assert "no remaining candidate is better than trial 7 by more than 0.0124." in text
    assert "overstated its best accuracy by 0.017 (the winner's curse)" in text
    assert "2 failed" in text
    assert "open" in next(e for e in page.all("details")).attributes
    assert IMAGE in page.by_id("pareto-1").text
    assert IMAGE in next(e for e in page.all("table") if e.attributes.get("class") == "top").text


def test_an_experiment_compares_its_families_and_has_a_part_of_each() -> None:
    studies = []
    for family, seed in (("cnn", 0), ("rnn", 1), (f"{SCRIPT}{IMAGE}", 2)):
        study = synthetic.study(name=f"digits-{family}", family=family, experiment="digits")
        trials = synthetic.trials(40, seed=seed)
        counts = {s: sum(t.state is s for t in trials) for s in TrialState}
        result = summarize(Overview(study, counts), trials)
        studies.append((result, _inputs(study, trials, confirmation=CONTEST if seed else None)))
    html = document.render_experiment("digits", studies, versions=synthetic.VERSIONS)
    page = _parsed(html)
    assert html.count(get_plotlyjs()) == 1
    assert not page.all("img")
    figures = list(_payload(page)["figures"])
    assert figures[:4] == ["by-trials", "by-time", "spread", "study-1-history"]
    assert [f"study-1-{name}" for name in FIGURES] == figures[3 : 3 + len(FIGURES)]
    assert "study-3-confirmation" in figures
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        assert (link.attributes["href"] or "").removeprefix("#") in ids
    rows = page.by_id("comparison").text
    assert "0.9771" in rows
    assert f"{SCRIPT}{IMAGE}" in rows
    empty = [
        (
            summarize(Overview(result.study, dict.fromkeys(TrialState, 0)), []),
            ReportInputs(result.study, []),
        )
        for result, _ in studies
    ]
    page = _parsed(document.render_experiment("digits", empty, versions={}))
    assert "No trial is complete yet." in page.by_id("spread").text
