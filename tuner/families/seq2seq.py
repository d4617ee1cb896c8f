"""An encoder-decoder network: one sequence of tokens becomes another.

    text → embeddings → bidirectional GRU or LSTM → memory
    begin, token, token … → embeddings → GRU or LSTM → odds of the next token

Without attention the decoder sees the encoder's last state at every step (Cho et al., EMNLP 2014).
With it, it looks at all of the memory: before its own step and with additive scores (Bahdanau et
al., ICLR 2015), or after it and with multiplicative ones (Luong et al., EMNLP 2015). Trained on the
right last token, or now and then on its own (Bengio et al., NIPS 2015). Padding takes no part.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from tuner.data import pairs
from tuner.data.pairs import END
from tuner.data.prepared import PartName, PreparedData
from tuner.families.parts import decoding
from tuner.families.parts.decoding import State
from tuner.study_file.data import DataSpec
from tuner.training import loop, resident, sequences, weights
from tuner.training.cohort import Cohort, Context
from tuner.training.network import Autocast, Batches
from tuner.trials import ParamValue

CELLS: Mapping[str, Callable[..., nn.RNNBase]] = {"gru": nn.GRU, "lstm": nn.LSTM}
EVALUATION_BATCH = 256  # rows
LENGTH_POWER = 0.6  # of beam search (Wu et al., 2016)

Rights = Sequence[Sequence[int]]


class Seq2Seq(nn.Module):
    """(texts [N, S], targets [N, T]), ids padded with 0 → logits [N, T, target vocabulary].

    Targets end with `END`; the logits at a place are those of the token that stands there.
    """

    def __init__(
        self,
        vocabulary: int,
        target_vocabulary: int,
        *,
        cell: str = "gru",
        embedding_size: int = 64,
        hidden: int = 128,
        layers: int = 1,
        attention: str = "bahdanau",
        dropout: float = 0.0,
        teacher_forcing: float = 1.0,
    ) -> None:
        """`attention` none, bahdanau or luong; `teacher_forcing`: share of right last tokens."""
        super().__init__()
        self.cell, self.layers, self.attention = cell, layers, attention
        self.teacher_forcing = teacher_forcing
        self.dropout = nn.Dropout(dropout)
        self.embedding = nn.Embedding(vocabulary, embedding_size, padding_idx=0)
        self.target_embedding = nn.Embedding(target_vocabulary, embedding_size, padding_idx=0)
        between = dropout if layers > 1 else 0.0
        self.encoder = CELLS[cell](
            embedding_size, hidden, layers, batch_first=True, bidirectional=True, dropout=between
        )
        self.bridge = nn.Linear(2 * hidden, hidden)
        seen = 0 if attention == "luong" else 2 * hidden
        self.decoder = CELLS[cell](
            embedding_size + seen, hidden, layers, batch_first=True, dropout=between
        )
        if attention != "none":
            self.keys = nn.Linear(2 * hidden, hidden, bias=False)
        if attention == "bahdanau":
            self.query = nn.Linear(hidden, hidden)
            self.score = nn.Linear(hidden, 1, bias=False)
        self.mixed = nn.Linear(3 * hidden, hidden)
        self.output = nn.Linear(hidden, target_vocabulary)

    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Logits of a batch, each step given the right last token, or now and then its own."""
        texts, targets = inputs
        state = self.encode(texts)
        before = torch.cat([torch.full_like(targets[:, :1], END), targets[:, :-1]], dim=1)
        if self.training and self.teacher_forcing < 1.0:
            return self._mixing(before, state)
        if self.attention == "bahdanau":
            return self._looking_first(before, state)
        return self._at_once(before, state)

    def _at_once(self, before: Tensor, state: State) -> Tensor:
        """Logits of all steps: none waits for the one before, whose token and context it knows."""
        memory, keys, inside, _, hidden, cell = state
        words = self.dropout(self.target_embedding(before))
        if self.attention == "none":
            words = torch.cat([words, memory.expand(-1, words.shape[1], -1)], dim=2)
        carried: Any = hidden.transpose(0, 1).contiguous()
        if self.cell == "lstm":
            carried = (carried, cell.transpose(0, 1).contiguous())
        found, _ = self.decoder(words, carried)
        return self._logits(found, self._looked(found, keys, inside) @ memory)

    def _looking_first(self, before: Tensor, state: State) -> Tensor:
        """Logits of all steps: one after the other does only what waits for the one before."""
        memory, keys, inside, offered, hidden, cell = state
        found, shares = [], []
        for gates in self._read(before, self._split()[0]).unbind(dim=1):
            share = self._looked(hidden[:, -1:], keys, inside)
            hidden, cell = self._advanced(gates + (share @ offered)[:, 0], hidden, cell)
            found.append(hidden[:, -1])
            shares.append(share)
        return self._logits(torch.stack(found, dim=1), torch.cat(shares, dim=1) @ memory)

    def _mixing(self, before: Tensor, state: State) -> Tensor:
        """Logits of all steps, some of them given the token that the network found likeliest."""
        weight = self._split()[0]  # once: its gradient is then summed once
        last = before[:, 0]
        outputs = []
        for right in [*before.unbind(dim=1)[1:], None]:
            logits, state = self._step(last, state, weight)
            outputs.append(logits)
            if right is not None:
                is_own = torch.rand(len(right), device=right.device) >= self.teacher_forcing
                last = torch.where(is_own & (right != 0), logits.argmax(dim=1), right)
        return torch.stack(outputs, dim=1)

    def encode(self, texts: Tensor) -> State:
        """What the decoder starts from: memory, keys, places, part in its gates; its own state.

        Without attention the memory is one place, the encoder's last state.
        """
        inside = texts != 0
        lengths = inside.sum(dim=1).clamp(min=1)
        packed = pack_padded_sequence(
            self.dropout(self.embedding(texts)), lengths.cpu(), batch_first=True,
            enforce_sorted=False,
        )  # fmt: skip
        out, last = self.encoder(packed)
        assert isinstance(out, PackedSequence)
        last = last[0] if isinstance(last, tuple) else last
        # [layers · 2, N, hidden] → [N, layers, 2 · hidden], forward beside backward
        both = last.unflatten(0, (self.layers, 2)).permute(2, 0, 1, 3).flatten(2)
        start = self.bridge(both).tanh()
        if self.attention == "none":
            memory, inside = both[:, -1:], torch.ones_like(inside[:, :1])
            keys = memory
        else:
            memory, _ = pad_packed_sequence(out, batch_first=True, total_length=texts.shape[1])
            keys = self.keys(memory)
            inside = inside | ~inside.any(dim=1, keepdim=True)  # a text without tokens has a place
        # what the gates make of a mean of the memory is the mean of what they make of it: so that
        # their largest weights multiply all places at once instead of a mean at each step
        looks_first = self.attention != "luong"
        offered = functional.linear(memory, self._split()[1]) if looks_first else memory
        # float32: under autocast the cell's sums would be rounded at each step
        return memory, keys, inside, offered, start, torch.zeros_like(start, dtype=torch.float32)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits [N, target vocabulary] of the token behind `tokens` [N], and the next state."""
        return self._step(tokens, state, self._split()[0])

    def _step(self, tokens: Tensor, state: State, weight: Tensor) -> tuple[Tensor, State]:
        memory, keys, inside, offered, hidden, cell = state
        gates = self._read(tokens, weight)
        if self.attention == "luong":
            hidden, cell = self._advanced(gates, hidden, cell)
            shares = self._looked(hidden[:, -1:], keys, inside)
        else:
            shares = self._looked(hidden[:, -1:], keys, inside)
            hidden, cell = self._advanced(gates + (shares @ offered)[:, 0], hidden, cell)
        logits = self._logits(hidden[:, -1], (shares @ memory)[:, 0])
        return logits, (memory, keys, inside, offered, hidden, cell)

    def _split(self) -> tuple[Tensor, Tensor]:
        """The first layer's weights of a token [gates, embedding] and of the context."""
        weight, _ = self._weights("ih", 0)
        size = self.target_embedding.embedding_dim
        return weight[:, :size], weight[:, size:]

    def _read(self, tokens: Tensor, weight: Tensor) -> Tensor:
        """What tokens give to the first layer's gates."""
        words = self.dropout(self.target_embedding(tokens))
        return functional.linear(words, weight, self._weights("ih", 0)[1])

    def _looked(self, found: Tensor, keys: Tensor, inside: Tensor) -> Tensor:
        """Shares [N, T, S] of the memory's places, seen from outputs [N, T, hidden]."""
        if self.attention == "none":
            return torch.ones_like(found[..., :1])
        if self.attention == "luong":
            scores = found @ keys.transpose(1, 2)
        else:  # one step
            scores = self.score((keys + self.query(found)).tanh()).transpose(1, 2)
        return scores.masked_fill(~inside.unsqueeze(1), -math.inf).softmax(dim=2)

    def _advanced(self, gates: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """One step of the decoder, from what its inputs give to the first layer's gates."""
        hiddens: list[Tensor] = []
        cells: list[Tensor] = []
        for layer in range(self.layers):
            if layer:
                lower = functional.dropout(hiddens[-1], self.decoder.dropout, self.training)
                gates = functional.linear(lower, *self._weights("ih", layer))
            before = hidden[:, layer]
            own = functional.linear(before, *self._weights("hh", layer))
            if self.cell == "lstm":
                take, forget, new, out = (gates + own).chunk(4, dim=1)
                cells.append(forget.sigmoid() * cell[:, layer] + take.sigmoid() * new.tanh())
                hiddens.append(out.sigmoid() * cells[-1].tanh())
            else:
                (reset, update, new), (r, u, n) = gates.chunk(3, dim=1), own.chunk(3, dim=1)
                made = (new + (reset + r).sigmoid() * n).tanh()
                hiddens.append(made + (update + u).sigmoid() * (before - made))
        return torch.stack(hiddens, dim=1), torch.stack(cells, dim=1) if cells else cell

    def _weights(self, of: str, layer: int) -> tuple[Tensor, Tensor]:
        """Weights and biases of the decoder's inputs (`ih`) or of its own state (`hh`)."""
        return (
            getattr(self.decoder, f"weight_{of}_l{layer}"),
            getattr(self.decoder, f"bias_{of}_l{layer}"),
        )

    def _logits(self, found: Tensor, context: Tensor) -> Tensor:
        mixed = self.mixed(torch.cat([found, context], dim=-1)).tanh()
        logits: Tensor = self.output(self.dropout(mixed))
        return logits


class PairBatches:
    """A part of the pairs; the model is called with both sides."""

    def __init__(self, part: resident.Resident, alternatives: Sequence[Rights]) -> None:
        """`alternatives`: what is right of each text beside its target."""
        self._part = part
        self.alternatives = alternatives
        self.labels, self.lengths = part.labels, part.lengths

    def __len__(self) -> int:
        return len(self._part)

    def batches(self, size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Indices in a random order, texts of similar lengths together."""
        return self._part.batches(size, generator)

    def batch(self, indices: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Texts and targets, and the targets again, without columns that are padding alone."""
        texts, targets = self._part.batch(indices)
        targets = targets[:, : int((targets != 0).sum(dim=1).max())]
        return (texts, targets), targets


class Transduction:
    """The right sequence; a `training.network.Objective`."""

    def __init__(
        self, params: Mapping[str, ParamValue], data: PreparedData, _: torch.device
    ) -> None:
        self._smoothing = float(params.get("label_smoothing") or 0.0)
        self._beam = int(params["beam"])  # type: ignore[arg-type]
        self._data = data

    def answer(self, model: nn.Module, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """What the model writes for texts: ids [N, ≤ longest], 0 behind their ends."""
        assert isinstance(model, Seq2Seq)
        return self._written(model, inputs[0])

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of the tokens, in nats each."""
        return functional.cross_entropy(
            outputs.float().flatten(0, 1),
            labels.flatten(),
            ignore_index=0,
            label_smoothing=self._smoothing,
        )

    @torch.inference_mode()
    def measure(
        self, model: nn.Module, part: Batches, autocast: Autocast = nullcontext
    ) -> dict[str, float]:
        """Metrics of what is written by itself, and of the odds given to the right tokens."""
        return self.judge(model, part, autocast).metrics()

    @torch.inference_mode()
    def judge(
        self, model: nn.Module, part: Batches, autocast: Autocast = nullcontext
    ) -> sequences.Judged:
        """The same of each example."""
        assert isinstance(model, Seq2Seq)
        assert isinstance(part, PairBatches)
        assert part.lengths is not None
        model.eval()
        found: dict[int, list[int]] = {}
        wanted: dict[int, Rights] = {}
        losses: dict[int, float] = {}
        counts: dict[int, int] = {}
        for indices in part.lengths.argsort(stable=True).split(EVALUATION_BATCH):
            (texts, targets), _ = part.batch(indices.to(part.labels.device))
            with autocast():
                logits, written = model((texts, targets)).float(), self._written(model, texts)
            loss = functional.cross_entropy(
                logits.flatten(0, 1), targets.flatten(), ignore_index=0, reduction="none"
            )
            rows = indices.tolist()
            losses |= zip(rows, loss.view_as(targets).sum(dim=1).tolist(), strict=True)
            counts |= zip(rows, (targets != 0).sum(dim=1).tolist(), strict=True)
            found |= zip(rows, map(_tokens, written.tolist()), strict=True)
            for row, target in zip(rows, targets.tolist(), strict=True):
                wanted[row] = [_tokens(target), *part.alternatives[row]]
        order = range(len(part))
        return sequences.Judged(
            sequences.nearest([found[row] for row in order], [wanted[row] for row in order]),
            [losses[row] for row in order],
            [counts[row] for row in order],
            [self._text(found[row]) for row in order],
            [[self._text(right) for right in wanted[row]] for row in order],
        )

    def loss_in(self, measured: Mapping[str, float]) -> float:
        """Cross-entropy, without smoothing."""
        return measured["log_loss"]

    def _written(self, model: Seq2Seq, texts: Tensor) -> Tensor:
        state, most = model.encode(texts), self._data.input_shape[1]
        if self._beam > 1:
            return decoding.beam(
                model.step, state, end=END, most=most, width=self._beam, length_power=LENGTH_POWER
            )
        return decoding.greedy(model.step, state, end=END, most=most)

    @torch.inference_mode()
    def write(self, model: Seq2Seq, part: PairBatches, rows: int) -> list[str]:
        """What the model writes for the first texts of a part."""
        model.eval()
        found = []
        for indices in torch.arange(rows).split(EVALUATION_BATCH):
            (texts, _), _ = part.batch(indices)
            found += [self._text(_tokens(ids)) for ids in self._written(model, texts).tolist()]
        return found

    def _text(self, tokens: Sequence[int]) -> str:
        known = self._data.target_vocabulary
        return pairs.joined([known[token] for token in tokens], self._data.target_tokens)


def _tokens(ids: Sequence[int]) -> list[int]:
    return [number for number in ids if number not in (0, END)]


def build(params: Mapping[str, ParamValue], data: PreparedData) -> nn.Module:
    """The network that a trial's parameters describe, for this data."""
    p: Mapping[str, Any] = params
    return Seq2Seq(
        len(data.vocabulary),
        len(data.target_vocabulary),
        cell=p["cell"],
        embedding_size=p["embedding_size"],
        hidden=p["hidden"],
        layers=p["layers"],
        attention=p["attention"],
        dropout=p["dropout"],
        teacher_forcing=p["teacher_forcing"],
    )


def load(
    _: Mapping[str, ParamValue], data: PreparedData, name: PartName, device: torch.device
) -> PairBatches:
    """The part as the network takes it."""
    return PairBatches(resident.load(data, name, device), data.alternatives(name))


def train(cohort: Cohort, data: PreparedData, context: Context) -> None:
    """Train a cohort."""
    loop.train(cohort, data, context, build, load, Transduction)


def _judged(
    params: Mapping[str, ParamValue], data: PreparedData, path: Path
) -> tuple[Seq2Seq, Transduction]:
    """The network with exported weights, and its judge."""
    model = build(params, data)
    weights.load(model, path)
    assert isinstance(model, Seq2Seq)
    return model, Transduction(params, data, torch.device("cpu"))


def measure(
    params: Mapping[str, ParamValue],
    _: DataSpec,
    data: PreparedData,
    path: Path,
    parts: Sequence[PartName],
) -> dict[str, sequences.Judged]:
    """Part → what exported weights write for it, judged."""
    model, judge = _judged(params, data, path)
    cpu = torch.device("cpu")
    return {name: judge.judge(model, load(params, data, name, cpu)) for name in parts}


def predictions(
    params: Mapping[str, ParamValue],
    _: DataSpec,
    data: PreparedData,
    path: Path,
    part: PartName,
    rows: int,
) -> list[dict[str, Any]]:
    """What exported weights write for the first texts of a part."""
    model, judge = _judged(params, data, path)
    written = judge.write(model, load(params, data, part, torch.device("cpu")), rows)
    return [{"prediction": text} for text in written]
