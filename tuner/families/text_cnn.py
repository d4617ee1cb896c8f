"""A convolutional network for sentences (Kim, EMNLP 2014).

    tokens → embeddings → convolutions of several widths → max over time → dropout → classes

Word vectors start at random and are trained, or come from a file and stay as they are (static), are
trained further (tuned), or both, as two channels of the input (multichannel).
As in the paper, the rows of the last layer are scaled back to a maximum norm after every step.
Texts are padded with width - 1 zeros at both ends, so that every word meets every position of a
filter. Positions beyond a text's end are masked: its logits do not depend on the rest of the batch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuner.data.prepared import PreparedData
from tuner.families.code import Networks
from tuner.families.parts.embedding import Channels, WordDropout, embedding
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
        """Build the layers: `filters` per width; `max_norm` 0 sets no limit."""
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
        """Return the logits of a batch."""
        lengths = (tokens != 0).sum(dim=1, keepdim=True)  # [N, 1]
        embedded = self.embedding_dropout(self.embedding(tokens)).transpose(1, 2)  # [N, size, L]
        pooled = []
        for convolution in self.convolutions:
            features = functional.relu(convolution(embedded))  # [N, filters, L + width - 1]
            # a filter of this width touches the text at its first length + width - 1 positions
            overhang = features.shape[2] - tokens.shape[1]
            positions = torch.arange(features.shape[2], device=tokens.device)
            mask = positions < lengths + overhang  # [N, L + width - 1]
            pooled.append((features * mask.unsqueeze(1)).amax(dim=2))
        logits: Tensor = self.output(self.dropout(torch.cat(pooled, dim=1)))  # [N, classes]
        return logits

    @torch.no_grad()
    def constrain(self) -> None:
        """Scale the output layer's rows back to `max_norm`; called after every training step."""
        if self.max_norm > 0:
            self.output.weight.copy_(torch.renorm(self.output.weight, 2, 0, self.max_norm))


def build(params: Mapping[str, ParamValue], data: PreparedData) -> nn.Module:
    """Build the network that a trial's parameters describe."""
    p: Mapping[str, Any] = params
    layer = embedding(p, data)
    return TextCNN(
        Channels(layer.weight.detach()) if p["embeddings"] == "multichannel" else layer,
        data.outputs,
        widths=[int(width) for width in str(p["filter_widths"]).split("+")],
        filters=p["filters"],
        dropout=p["dropout"],
        embedding_dropout=p["embedding_dropout"],
        max_norm=p["max_norm"],
    )


CODE = Networks(build)
