"""The study file of an export allows nothing but the exported trial."""

import random
from typing import Any

import pytest

from tuner.export.facts import reproducing, yaml_text
from tuner.families import confirm, registry
from tuner.search.history import History
from tuner.search.sampler import Proposer
from tuner.spec.load import loads
from tuner.spec.parameters import FixedParameter
from tuner.spec.resolved import ResolvedSpec
from tuner.spec.seeds import trial_seed
from tuner.trials import Study, StudyState, Trial, TrialState

TEXTS = {
    "cnn": "name: x\nfamily: cnn\ndata: digits\nsampler: random\nseed: 5",
    "text_cnn": "name: x\nfamily: text_cnn\ndata: {path: a.csv, vectors: v.txt, max_length: 9}",
    "rnn": "name: x\nfamily: rnn\ndata: {path: a.csv}",
    "transformer": "name: x\nfamily: transformer\ndata: {path: a.csv, vectors: v.txt}",
    "bow": "name: x\nfamily: bow\ndata: {path: a.csv}",
    "tfidf": "name: x\nfamily: tfidf\ndata: {path: a.csv}",
    "a table": "name: x\nfamily: bow\n"
    "data: {path: a.csv.gz, encoding: utf-16, separator: '|', min_class: 5}",
    "a table with tabs": 'name: x\nfamily: bow\ndata: {path: a.csv, separator: "\\t"}',
    "damaged images": "name: x\nfamily: cnn\ndata: {source: images, path: a, skip_damaged: true}",
    "pretrained": "name: x\nfamily: pretrained\ndata: {path: a.csv}\n"
    "search: {checkpoint: [/a, b/c]}",
    "seq2seq": "name: x\nfamily: seq2seq\ndata: {source: cmudict, examples: 99}",
    "word2vec": "name: x\nfamily: word2vec\ndata: lee\nbudget: {epochs: 9}",
    "fasttext": "name: x\nfamily: fasttext\ndata: {path: a.csv, word_pairs: p.tsv}",
    "objectives": "name: x\nfamily: cnn\ndata: digits\nobjective: {metric: [accuracy, latency]}",
    "other conditions": "name: x\nfamily: cnn\ndata: digits\nobjective: {metric: log_loss}\n"
    "search: {dropout: {when: {batch_norm: false}}, depth: {high: 9}, kernel: 5, momentum: 0.9}\n"
    "training: {early_stop: 3}\nbudget: {epochs: 4}\nforbidden: [{optimizer: adam}]",
    "command": "name: x\nfamily: command\ncommand: [a, 3, '{u}{{}}', '{arguments}']\nfolder: d\n"
    "objective: {metric: accuracy}\nsearch: {u: {low: 0, high: 1}}",
    "function": "name: x\nfamily: function\nfunction: a.b:c\nfolder: d\nbudget: {epochs: 5}\n"
    "objective: {metric: m, direction: minimize}\n"
    "search: {u: {low: 0, high: 1}, v.w: [a, b], x-y: {low: 1, high: 9, when: {v.w: a}}}",
    "a long name": f"name: {'n' * 100}\nfamily: cnn\ndata: digits\nresources: {{threads: 2}}",
}


def reproduced(spec: ResolvedSpec, params: dict[str, Any], number: int) -> ResolvedSpec:
    """What the exported study file means."""
    study = Study(
        name=spec.name,
        state=StudyState.FINISHED,
        directions=(spec.objective.direction,),
        metrics=(spec.objective.metric,),
        family=spec.family,
        spec=spec.as_json(),
        max_trials=spec.budget.trials,
    )
    trial = Trial(number=number, state=TrialState.COMPLETE, params=params)
    return confirm(loads(yaml_text(reproducing(study, spec, trial)), name="reproduce.yaml"))


@pytest.mark.parametrize("name", TEXTS)
def test_the_configuration_and_the_seed_are_the_trials(name: str) -> None:
    spec = confirm(loads(TEXTS[name]))
    rng = random.Random(0)
    for number in range(20):
        params = spec.space.random(rng)
        again = reproduced(spec, params, number)
        proposes = Proposer(again.space, again.sampler, ["minimize"], again.seed, History(1))

        assert all(isinstance(p, FixedParameter) for p in again.space.parameters.values())
        assert proposes.complete(proposes.propose(0)) == params
        assert trial_seed(again, 0) == trial_seed(spec, number)
        assert again.budget.trials == 1
        assert again.budget.epochs == spec.budget.epochs
        assert again.data == spec.data
        assert again.code == spec.code
        assert again.objective == spec.objective
        assert again.training.early_stop == spec.training.early_stop


def test_every_family_is_covered() -> None:
    assert set(registry.NAMES) <= TEXTS.keys()
