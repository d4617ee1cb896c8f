"""A convolutional network for sentences (Kim, EMNLP 2014).

    tokens → embeddings → convolutions of several widths → max over time → dropout → classes

The words' vectors are random and trained, or from a file and kept (static), trained on (tuned) or
both at once, as two channels of the input (multichannel).
As in the paper, the rows of the last layer are scaled back to a maximal norm after every step.
Texts are padded with width - 1 zeros at both ends, so every word meets every position of a filter,
and what lies beyond a text's end is masked: its logits do not depend on the batch around it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuner.data.prepared import PreparedData
from tuner.families.parts.embedding import Channels, WordDropout, embedding
from tuner.training import loop
from tuner.training.cohort import Cohort, Context
from tuner.trials import ParamValue


class TextCNN(nn.Module):
    """Token ids [N, length] (0 is padding) → logits [N, classes]."""

    def __init__(
        self,
        embedding: nn.Embedding | Channels,
        classes: int,
        *,
        widths: Sequence[int] = (3, 4, 5),
        filters: int = 100,
        dropout: float = 0.5,
        embedding_dropout: float = 0.0,
        max_norm: float = 3.0,
    ) -> None:
        """`filters` of each width; `max_norm` 0 for none."""
        super().__init__()
        self.embedding = embedding
        self.convolutions = nn.ModuleList(
            nn.Conv1d(embedding.embedding_dim, filters, width, padding=width - 1)
            for width in widths
        )
        self.embedding_dropout = WordDropout(embedding_dropout)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(filters * len(widths), classes)
        self.max_norm = max_norm

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of a batch."""
        lengths = (tokens != 0).sum(dim=1, keepdim=True)
        words = self.embedding_dropout(self.embedding(tokens)).transpose(1, 2)
        pooled = []
        for convolution in self.convolutions:
            features = functional.relu(convolution(words))
            # a filter of this width touches the text at its first length + width - 1 positions
            reach = features.shape[2] - tokens.shape[1]
            positions = torch.arange(features.shape[2], device=tokens.device)
            inside = positions < lengths + reach
            pooled.append((features * inside.unsqueeze(1)).amax(dim=2))
        logits: Tensor = self.output(self.dropout(torch.cat(pooled, dim=1)))
        return logits

    @torch.no_grad()
    def constrain(self) -> None:
        """Scale the output layer's rows back to `max_norm`; the loop calls it after every step."""
        if self.max_norm > 0:
            self.output.weight.copy_(torch.renorm(self.output.weight, 2, 0, self.max_norm))


def build(params: Mapping[str, ParamValue], data: PreparedData) -> nn.Module:
    """The network that a trial's parameters describe, for this data."""
    p: Mapping[str, Any] = params
    words = embedding(p, data)
    return TextCNN(
        Channels(words.weight.detach()) if p["embeddings"] == "multichannel" else words,
        data.outputs,
        widths=[int(width) for width in str(p["filter_widths"]).split("+")],
        filters=p["filters"],
        dropout=p["dropout"],
        embedding_dropout=p["embedding_dropout"],
        max_norm=p["max_norm"],
    )


def train(cohort: Cohort, data: PreparedData, context: Context) -> None:
    """Train a cohort."""
    loop.train(cohort, data, context, build)
