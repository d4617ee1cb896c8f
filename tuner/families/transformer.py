"""A Transformer encoder that classifies sentences (Vaswani et al., NIPS 2017), pre-norm.

    tokens → embeddings + positions → [attention, feed-forward] × layers → norm → mean → classes

Layers normalize before each sub-layer (Xiong et al., ICML 2020), so training needs no long warm-up.
Padding is masked: a text's logits do not depend on the rest of the batch.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tuner.data.prepared import PreparedData
from tuner.families.code import Networks
from tuner.families.parts.embedding import WordDropout, embedding
from tuner.trials import ParamValue


class Transformer(nn.Module):
    """Token ids [N, length] (0 is padding) → logits [N, classes]."""

    positions: Tensor

    def __init__(
        self,
        embedding: nn.Embedding,
        classes: int,
        max_length: int,
        *,
        layers: int = 2,
        heads: int = 4,
        width: int = 128,
        feed_forward: int = 4,
        dropout: float = 0.1,
        embedding_dropout: float = 0.0,
    ) -> None:
        """Build the layers; `width` must be a multiple of `heads`.

        The feed-forward sub-layer is `feed_forward` times as wide.
        """
        super().__init__()
        self.embedding = embedding
        self.embedding_dropout = WordDropout(embedding_dropout)
        self.projection = nn.Linear(embedding.embedding_dim, width)
        self.register_buffer("positions", sinusoids(max_length, width), persistent=False)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width,
                heads,
                feed_forward * width,
                dropout,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits of a batch."""
        padding = tokens == 0  # [N, length]
        padding[:, 0] = False  # an empty text needs one position to attend to
        embedded = self.embedding_dropout(self.embedding(tokens))  # [N, length, size]
        projected = self.projection(embedded)  # [N, length, width]
        states = self.dropout(projected + self.positions[: tokens.shape[1]])
        for layer in self.layers:
            states = layer(states, src_key_padding_mask=padding)
        mask = ~padding.unsqueeze(2)
        pooled = (self.norm(states) * mask).sum(dim=1) / mask.sum(dim=1)  # [N, width]
        logits: Tensor = self.output(self.dropout(pooled))  # [N, classes]
        return logits


def sinusoids(length: int, width: int) -> Tensor:
    """Position encodings float32 [length, width]: sines and cosines of falling frequency."""
    position = torch.arange(length).unsqueeze(1)  # [length, 1]
    frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    encodings = torch.zeros(length, width)
    encodings[:, 0::2] = torch.sin(position * frequency)
    encodings[:, 1::2] = torch.cos(position * frequency)[:, : width // 2]
    return encodings


def build(params: Mapping[str, ParamValue], data: PreparedData) -> nn.Module:
    """Build the network that a trial's parameters describe."""
    p: Mapping[str, Any] = params
    return Transformer(
        embedding(p, data),
        data.outputs,
        data.input_shape[0],
        layers=p["layers"],
        heads=p["heads"],
        width=p["head_width"] * p["heads"],
        feed_forward=p["feed_forward"],
        dropout=p["dropout"],
        embedding_dropout=p["embedding_dropout"],
    )


CODE = Networks(build)
