"""An encoder-decoder network: one sequence of tokens becomes another.

    text → embeddings → bidirectional GRU or LSTM → memory
    begin, token, token … → embeddings → GRU or LSTM → logits of the next token

Without attention the decoder sees the encoder's last state at every step (Cho et al., EMNLP 2014).
With attention it sees all of the memory: before its step with additive scores (Bahdanau et al.,
ICLR 2015), or after its step with multiplicative scores (Luong et al., EMNLP 2015). It is trained
with teacher forcing, or with scheduled sampling (Bengio et al., NIPS 2015). Padding is masked.

Shapes: N texts, S source tokens, T target tokens, V target vocabulary, G gates of the decoder's
first layer (3 or 4 · hidden).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from tuner.data import pairs
from tuner.data.pairs import END
from tuner.data.prepared import PartName, PreparedData
from tuner.families.code import Networks
from tuner.families.parts import decoding
from tuner.families.parts.decoding import State
from tuner.training import resident, sequences
from tuner.training.network import Autocast, Batches
from tuner.trials import ParamValue

CELLS: Mapping[str, Callable[..., nn.RNNBase]] = {"gru": nn.GRU, "lstm": nn.LSTM}
EVALUATION_BATCH = 256  # rows
LENGTH_POWER = 0.6  # of beam search (Wu et al., 2016)

References = Sequence[Sequence[int]]  # the right sequences of one text


class Seq2Seq(nn.Module):
    """(texts [N, S], targets [N, T]), ids padded with 0 → logits [N, T, V].

    Targets end with `END`; the logits at a position are those of the target token there.
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
        """Build the layers; `attention` is none, bahdanau or luong.

        `teacher_forcing` is the probability that training feeds the right token back.
        """
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
        context_size = 0 if attention == "luong" else 2 * hidden
        self.decoder = CELLS[cell](
            embedding_size + context_size, hidden, layers, batch_first=True, dropout=between
        )
        if attention != "none":
            self.keys = nn.Linear(2 * hidden, hidden, bias=False)
        if attention == "bahdanau":
            self.query = nn.Linear(hidden, hidden)
            self.score = nn.Linear(hidden, 1, bias=False)
        self.mixed = nn.Linear(3 * hidden, hidden)
        self.output = nn.Linear(hidden, target_vocabulary)

    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Return the logits of a batch, each step fed the right token before it.

        While training with `teacher_forcing` below 1, some steps are fed the model's own token.
        """
        texts, targets = inputs
        state = self.encode(texts)
        previous = torch.cat([torch.full_like(targets[:, :1], END), targets[:, :-1]], dim=1)
        if self.training and self.teacher_forcing < 1.0:
            return self._scheduled_sampling(previous, state)
        if self.attention == "bahdanau":
            return self._teacher_forced_stepwise(previous, state)
        return self._teacher_forced(previous, state)

    def _teacher_forced(self, previous: Tensor, state: State) -> Tensor:
        """Logits of all steps in one call: none needs another step's output as its input."""
        memory, keys, mask, _, hidden, cell = state
        inputs = self.dropout(self.target_embedding(previous))  # [N, T, embedding]
        if self.attention == "none":
            inputs = torch.cat([inputs, memory.expand(-1, inputs.shape[1], -1)], dim=2)
        initial: Any = hidden.transpose(0, 1).contiguous()  # [layers, N, hidden]
        if self.cell == "lstm":
            initial = (initial, cell.transpose(0, 1).contiguous())
        outputs, _ = self.decoder(inputs, initial)  # [N, T, hidden]
        context = self._attend(outputs, keys, mask) @ memory  # [N, T, 2 · hidden]
        return self._logits(outputs, context)

    def _teacher_forced_stepwise(self, previous: Tensor, state: State) -> Tensor:
        """Logits of all steps where a step attends with the state that the one before has left.

        Whatever does not depend on that state is computed for all steps at once.
        """
        memory, keys, mask, memory_gates, hidden, cell = state
        outputs, weights_by_step = [], []
        for token_gates in self._project_tokens(previous, self._split()[0]).unbind(dim=1):
            attention = self._attend(hidden[:, -1:], keys, mask)  # [N, 1, S]
            gates = token_gates + (attention @ memory_gates)[:, 0]  # [N, G]
            hidden, cell = self._advance(gates, hidden, cell)
            outputs.append(hidden[:, -1])
            weights_by_step.append(attention)
        context = torch.cat(weights_by_step, dim=1) @ memory  # [N, T, 2 · hidden]
        return self._logits(torch.stack(outputs, dim=1), context)

    def _scheduled_sampling(self, previous: Tensor, state: State) -> Tensor:
        """Logits of all steps, some of them fed the token that the model found most likely."""
        token_weights = self._split()[0]  # taken once, so that its gradient is summed once
        tokens = previous[:, 0]
        outputs = []
        for right in [*previous.unbind(dim=1)[1:], None]:
            logits, state = self._step(tokens, state, token_weights)
            outputs.append(logits)
            if right is not None:
                is_own = torch.rand(len(right), device=right.device) >= self.teacher_forcing
                tokens = torch.where(is_own & (right != 0), logits.argmax(dim=1), right)
        return torch.stack(outputs, dim=1)

    def encode(self, texts: Tensor) -> State:
        """Return the state that decoding starts from.

        It holds, for texts [N, S]:
            memory [N, S, 2 · hidden]: the encoder's outputs; without attention only its last state
            keys [N, S, hidden]: what attention compares the decoder's state with
            mask [N, S]: which positions of the memory count
            memory_gates [N, S, G]: the memory as the decoder's first gates take it
            hidden, cell [N, layers, hidden]: the decoder's own state
        """
        mask = texts != 0
        lengths = mask.sum(dim=1).clamp(min=1)
        packed = pack_padded_sequence(
            self.dropout(self.embedding(texts)), lengths.cpu(), batch_first=True,
            enforce_sorted=False,
        )  # fmt: skip
        outputs, final = self.encoder(packed)
        assert isinstance(outputs, PackedSequence)
        final = final[0] if isinstance(final, tuple) else final
        # [layers · 2, N, hidden] → [N, layers, 2 · hidden], forward beside backward
        both = final.unflatten(0, (self.layers, 2)).permute(2, 0, 1, 3).flatten(2)
        hidden = self.bridge(both).tanh()
        if self.attention == "none":
            memory, mask = both[:, -1:], torch.ones_like(mask[:, :1])
            keys = memory
        else:
            memory, _ = pad_packed_sequence(outputs, batch_first=True, total_length=texts.shape[1])
            keys = self.keys(memory)
            mask = mask | ~mask.any(dim=1, keepdim=True)  # an empty text still needs a position
        # Gates are linear: projecting the memory once and averaging its projections gives the same
        # as projecting a new context at every step, and costs far less.
        attends_first = self.attention != "luong"
        memory_gates = functional.linear(memory, self._split()[1]) if attends_first else memory
        # float32: under autocast the cell's sums would be rounded at each step
        cell = torch.zeros_like(hidden, dtype=torch.float32)
        return memory, keys, mask, memory_gates, hidden, cell

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the logits [N, V] of the token after `tokens` [N], and the next state."""
        return self._step(tokens, state, self._split()[0])

    def _step(self, tokens: Tensor, state: State, token_weights: Tensor) -> tuple[Tensor, State]:
        memory, keys, mask, memory_gates, hidden, cell = state
        gates = self._project_tokens(tokens, token_weights)  # [N, G]
        if self.attention == "luong":
            hidden, cell = self._advance(gates, hidden, cell)
            attention = self._attend(hidden[:, -1:], keys, mask)  # [N, 1, S]
        else:
            attention = self._attend(hidden[:, -1:], keys, mask)
            hidden, cell = self._advance(gates + (attention @ memory_gates)[:, 0], hidden, cell)
        context = (attention @ memory)[:, 0]  # [N, 2 · hidden]
        logits = self._logits(hidden[:, -1], context)
        return logits, (memory, keys, mask, memory_gates, hidden, cell)

    def _split(self) -> tuple[Tensor, Tensor]:
        """Split the first layer's weights: for tokens [G, embedding], for the context [G, …]."""
        weight, _ = self._weights("ih", 0)
        size = self.target_embedding.embedding_dim
        return weight[:, :size], weight[:, size:]

    def _project_tokens(self, tokens: Tensor, token_weights: Tensor) -> Tensor:
        """Tokens [N, …] → their part in the first layer's gates, [N, …, G]."""
        embedded = self.dropout(self.target_embedding(tokens))
        return functional.linear(embedded, token_weights, self._weights("ih", 0)[1])

    def _attend(self, outputs: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Attention weights [N, T, S] of the decoder's outputs [N, T, hidden]."""
        if self.attention == "none":
            return torch.ones_like(outputs[..., :1])
        if self.attention == "luong":
            scores = outputs @ keys.transpose(1, 2)
        else:  # T is 1 here: [N, S, hidden] + [N, 1, hidden]
            scores = self.score((keys + self.query(outputs)).tanh()).transpose(1, 2)
        return scores.masked_fill(~mask.unsqueeze(1), -math.inf).softmax(dim=2)

    def _advance(self, gates: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Advance the decoder by a step; `gates` [N, G] hold the first layer's input part."""
        hiddens: list[Tensor] = []
        cells: list[Tensor] = []
        for layer in range(self.layers):
            if layer:
                lower = functional.dropout(hiddens[-1], self.decoder.dropout, self.training)
                gates = functional.linear(lower, *self._weights("ih", layer))
            previous = hidden[:, layer]
            recurrent = functional.linear(previous, *self._weights("hh", layer))
            if self.cell == "lstm":
                i, f, g, o = (gates + recurrent).chunk(4, dim=1)
                cells.append(f.sigmoid() * cell[:, layer] + i.sigmoid() * g.tanh())
                hiddens.append(o.sigmoid() * cells[-1].tanh())
            else:
                reset, update, new = gates.chunk(3, dim=1)
                reset_h, update_h, new_h = recurrent.chunk(3, dim=1)
                candidate = (new + (reset + reset_h).sigmoid() * new_h).tanh()
                hiddens.append(candidate + (update + update_h).sigmoid() * (previous - candidate))
        return torch.stack(hiddens, dim=1), torch.stack(cells, dim=1) if cells else cell

    def _weights(self, kind: str, layer: int) -> tuple[Tensor, Tensor]:
        """The decoder's weights and biases of a layer's inputs (`ih`) or of its state (`hh`)."""
        return (
            getattr(self.decoder, f"weight_{kind}_l{layer}"),
            getattr(self.decoder, f"bias_{kind}_l{layer}"),
        )

    def _logits(self, outputs: Tensor, context: Tensor) -> Tensor:
        mixed = self.mixed(torch.cat([outputs, context], dim=-1)).tanh()  # [N, …, hidden]
        logits: Tensor = self.output(self.dropout(mixed))  # [N, …, V]
        return logits


class PairBatches:
    """A part of the pairs as `Batches`: the model is called with texts and targets."""

    def __init__(self, part: resident.Resident, alternatives: Sequence[References]) -> None:
        """`alternatives` are the right sequences of each text besides its target."""
        self._part = part
        self.alternatives = alternatives
        self.labels, self.lengths = part.labels, part.lengths

    def __len__(self) -> int:
        return len(self._part)

    def batches(self, size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield indices in random order, texts of similar length together."""
        return self._part.batches(size, generator)

    def batch(self, indices: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Return texts and targets, and the targets again, cut to the longest target."""
        texts, targets = self._part.batch(indices)
        targets = targets[:, : int((targets != 0).sum(dim=1).max())]
        return (texts, targets), targets


class Transduction:
    """Predict the right sequence; a `training.network.Objective`."""

    def __init__(
        self, params: Mapping[str, ParamValue], data: PreparedData, _: torch.device
    ) -> None:
        self._smoothing = float(params.get("label_smoothing") or 0.0)
        self._beam = int(params["beam"])  # type: ignore[arg-type]
        self._data = data

    def answer(self, model: nn.Module, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Decode the texts of a batch: token ids [N, ≤ longest], padded with 0."""
        assert isinstance(model, Seq2Seq)
        return self._decode(model, inputs[0])

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy, in nats per token."""
        return functional.cross_entropy(
            outputs.float().flatten(0, 1),
            labels.flatten(),
            ignore_index=0,
            label_smoothing=self._smoothing,
        )

    @torch.inference_mode()
    def score(
        self, model: nn.Module, part: Batches, autocast: Autocast = nullcontext
    ) -> sequences.SequenceScores:
        """Score decoded sequences, and the log-likelihood of the right tokens."""
        assert isinstance(model, Seq2Seq)
        assert isinstance(part, PairBatches)
        assert part.lengths is not None
        model.eval()
        predictions: dict[int, list[int]] = {}
        references: dict[int, References] = {}
        losses: dict[int, float] = {}
        counts: dict[int, int] = {}
        for indices in part.lengths.argsort(stable=True).split(EVALUATION_BATCH):
            (texts, targets), _ = part.batch(indices.to(part.labels.device))
            with autocast():
                logits, decoded = model((texts, targets)).float(), self._decode(model, texts)
            loss = functional.cross_entropy(
                logits.flatten(0, 1), targets.flatten(), ignore_index=0, reduction="none"
            )
            rows = indices.tolist()
            losses |= zip(rows, loss.view_as(targets).sum(dim=1).tolist(), strict=True)
            counts |= zip(rows, (targets != 0).sum(dim=1).tolist(), strict=True)
            predictions |= zip(rows, map(_tokens, decoded.tolist()), strict=True)
            for row, target in zip(rows, targets.tolist(), strict=True):
                references[row] = [_tokens(target), *part.alternatives[row]]
        order = range(len(part))
        return sequences.SequenceScores(
            sequences.nearest(
                [predictions[row] for row in order], [references[row] for row in order]
            ),
            [losses[row] for row in order],
            [counts[row] for row in order],
            [self._text(predictions[row]) for row in order],
            [[self._text(reference) for reference in references[row]] for row in order],
        )

    def loss_in(self, measured: Mapping[str, float]) -> float:
        """Return the cross-entropy, without label smoothing."""
        return measured["log_loss"]

    def _decode(self, model: Seq2Seq, texts: Tensor) -> Tensor:
        state, longest = model.encode(texts), self._data.input_shape[1]
        if self._beam > 1:
            return decoding.beam(
                model.step,
                state,
                end=END,
                max_length=longest,
                width=self._beam,
                length_power=LENGTH_POWER,
            )
        return decoding.greedy(model.step, state, end=END, max_length=longest)

    @torch.inference_mode()
    def predictions(self, model: nn.Module, part: Batches, rows: int) -> list[dict[str, Any]]:
        """Return the model's outputs for the first texts of a part."""
        assert isinstance(model, Seq2Seq)
        model.eval()
        outputs: list[str] = []
        for indices in torch.arange(rows).split(EVALUATION_BATCH):
            (texts, _), _ = part.batch(indices)
            outputs += [self._text(_tokens(ids)) for ids in self._decode(model, texts).tolist()]
        return [{"prediction": text} for text in outputs]

    def _text(self, tokens: Sequence[int]) -> str:
        vocabulary = self._data.target_vocabulary
        return pairs.join_tokens([vocabulary[token] for token in tokens], self._data.target_tokens)


def _tokens(ids: Sequence[int]) -> list[int]:
    return [token for token in ids if token not in (0, END)]


def build(params: Mapping[str, ParamValue], data: PreparedData) -> nn.Module:
    """Build the network that a trial's parameters describe."""
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
    """Load a part as pairs of texts and targets."""
    return PairBatches(resident.load(data, name, device), data.alternatives(name))


CODE = Networks(build, load=load, objective=Transduction)
