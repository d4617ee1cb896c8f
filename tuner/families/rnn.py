"""A recurrent network for sentences: Elman's tanh cell, LSTM or GRU.

    tokens → embeddings → [recurrent layer → variational dropout] × layers → pooling → classes

Elman, 1990; Hochreiter & Schmidhuber, 1997; Cho et al., 2014. Layers may read in both directions.
A text is pooled to its last state, to the mean of its states, or to their mean weighted by
attention (Yang et al., NAACL 2016). Padding is masked: a text's logits do not depend on the rest of
the batch.
"""

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from tuner.data.prepared import PreparedData
from tuner.families.code import Networks
from tuner.families.parts.embedding import VariationalDropout, WordDropout, embedding
from tuner.trials import ParamValue

CELLS: Mapping[str, Callable[..., nn.RNNBase]] = {"tanh": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class RNN(nn.Module):
    """Token ids [N, length] (0 is padding) → logits [N, classes]."""

    def __init__(
        self,
        embedding: nn.Embedding,
        classes: int,
        *,
        cell: str = "lstm",
        hidden: int = 128,
        layers: int = 1,
        bidirectional: bool = True,
        pooling: str = "last",
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
    ) -> None:
        """Build the layers; `hidden` is the size of one direction.

        `cell` is tanh, lstm or gru; `pooling` is last, mean or attention.
        """
        super().__init__()
        self.embedding = embedding
        self.embedding_dropout = WordDropout(embedding_dropout)
        width = hidden * (2 if bidirectional else 1)
        sizes = [embedding.embedding_dim] + [width] * (layers - 1)
        self.recurrent = nn.ModuleList(
            CELLS[cell](size, hidden, batch_first=True, bidirectional=bidirectional)
            for size in sizes
        )
        self.dropout = VariationalDropout(dropout)
        self.pooling = pooling
        self.attention = (
            nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1, bias=False))
            if pooling == "attention"
            else None
        )
        self.output_dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, classes)
        if cell == "lstm":
            self._open_forget_gates(hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits of a batch."""
        lengths = (tokens != 0).sum(dim=1).clamp(min=1)  # [N]
        states = self.embedding_dropout(self.embedding(tokens))  # [N, length, size]
        lengths_on_cpu = lengths.cpu()
        for layer in self.recurrent:
            packed = pack_padded_sequence(
                self.dropout(states), lengths_on_cpu, batch_first=True, enforce_sorted=False
            )
            packed_states, final = layer(packed)
            assert isinstance(packed_states, PackedSequence)
            states, _ = pad_packed_sequence(packed_states, batch_first=True)  # [N, length, width]
        hidden = final[0] if isinstance(final, tuple) else final  # [directions, N, hidden]
        pooled = self._pool(states, hidden, lengths)  # [N, width]
        logits: Tensor = self.output(self.output_dropout(pooled))  # [N, classes]
        return logits

    def _pool(self, states: Tensor, final: Tensor, lengths: Tensor) -> Tensor:
        """States [N, length, width] and the final ones [directions, N, hidden] → [N, width]."""
        if self.pooling == "last":
            return final.transpose(0, 1).flatten(1)
        mask = torch.arange(states.shape[1], device=states.device) < lengths.unsqueeze(1)
        if self.attention is None:
            return (states * mask.unsqueeze(2)).sum(dim=1) / lengths.unsqueeze(1)
        scores = self.attention(states).squeeze(2).masked_fill(~mask, -math.inf)  # [N, length]
        weights = scores.softmax(dim=1)
        return torch.einsum("nl,nlw->nw", weights, states)

    @torch.no_grad()
    def _open_forget_gates(self, hidden: int) -> None:
        """Start with open forget gates (Jozefowicz et al., ICML 2015)."""
        for layer in self.recurrent:
            for name, bias in layer.named_parameters():
                if name.startswith("bias_ih"):
                    bias[hidden : 2 * hidden].fill_(1.0)


def build(params: Mapping[str, ParamValue], data: PreparedData) -> nn.Module:
    """Build the network that a trial's parameters describe."""
    p: Mapping[str, Any] = params
    return RNN(
        embedding(p, data),
        data.outputs,
        cell=p["cell"],
        hidden=p["hidden"],
        layers=p["layers"],
        bidirectional=p["bidirectional"],
        pooling=p["pooling"],
        dropout=p["dropout"],
        embedding_dropout=p["embedding_dropout"],
    )


class _Traceable(RNN):
    """The same network; it takes the last states out of all of them, as ONNX's exporter knows them.

    Where nothing but the last ones is used, the exporter loses the layer (torch 2.13).
    """

    def _pool(self, states: Tensor, final: Tensor, lengths: Tensor) -> Tensor:
        if self.pooling != "last":
            return super()._pool(states, final, lengths)
        hidden = final.shape[2]
        ends = (lengths - 1).view(-1, 1, 1).expand(-1, 1, hidden)
        forward = states[:, :, :hidden].gather(1, ends).squeeze(1)
        return torch.cat([forward, states[:, 0, hidden:]], dim=1)  # backward, it ends at the first


def for_onnx(network: RNN) -> nn.Module:
    """The same network in operators that ONNX has."""
    copied = copy.deepcopy(network)
    copied.__class__ = _Traceable
    return copied


CODE = Networks(build, for_onnx=for_onnx)
