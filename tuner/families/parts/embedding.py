"""The first layer of the text families: token ids → word vectors."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tuner.data.prepared import PreparedData

RANDOM_RANGE = 0.25  # words without a vector are drawn uniformly from ± this (Kim, 2014)


def embedding(params: Mapping[str, Any], data: PreparedData) -> nn.Embedding:
    """Build the layer that the parameter `embeddings` names: random, static or tuned.

    Random vectors have `embedding_size` dimensions and are trained. Static and tuned ones come from
    the data's file; words missing from it get random vectors. Padding (token 0) is zero.
    """
    layer: nn.Embedding = nn.Embedding.from_pretrained(
        _vectors(params, data), freeze=params["embeddings"] == "static", padding_idx=0
    )
    return layer


def _vectors(params: Mapping[str, Any], data: PreparedData) -> Tensor:
    """float32 [len(vocabulary), dimension]."""
    if params["embeddings"] == "random":
        vectors = torch.empty(len(data.vocabulary), params["embedding_size"])
        vectors.uniform_(-RANDOM_RANGE, RANDOM_RANGE)
    else:
        pretrained = torch.tensor(data.vectors())  # NaN where the file lacks a word
        random = torch.empty_like(pretrained).uniform_(-RANDOM_RANGE, RANDOM_RANGE)
        vectors = torch.where(pretrained.isnan(), random, pretrained)
    vectors[0] = 0.0
    return vectors


class Channels(nn.Module):
    """Two vectors per word side by side, equal at first: one is kept, the other trained.

    Token ids [N, length] → [N, length, 2 * dimension]: the multichannel embeddings of Kim (2014).
    """

    def __init__(self, vectors: Tensor) -> None:
        """`vectors` [words, dimension]; row 0 is padding."""
        super().__init__()
        self.kept = nn.Embedding.from_pretrained(vectors, freeze=True, padding_idx=0)
        self.trained = nn.Embedding.from_pretrained(vectors.clone(), freeze=False, padding_idx=0)
        self.embedding_dim = 2 * vectors.shape[1]

    def forward(self, tokens: Tensor) -> Tensor:
        """Look up both vectors of each token."""
        return torch.cat([self.kept(tokens), self.trained(tokens)], dim=2)


class WordDropout(nn.Module):
    """Zero whole word vectors while training: [N, length, dimension] → the same shape."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, embedded: Tensor) -> Tensor:
        """Drop words, and scale up those that stay."""
        if not self.training or self.rate == 0:
            return embedded
        keep = 1.0 - self.rate
        mask = torch.empty_like(embedded[..., :1]).bernoulli_(keep)  # [N, length, 1]
        return embedded * mask.div_(keep)


class VariationalDropout(nn.Module):
    """Zero the same features at every step of a sequence (Gal & Ghahramani, NIPS 2016).

    [N, length, features] → the same shape.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, sequence: Tensor) -> Tensor:
        """Drop features, and scale up those that stay."""
        if not self.training or self.rate == 0:
            return sequence
        keep = 1.0 - self.rate
        mask = torch.empty_like(sequence[:, :1]).bernoulli_(keep)  # [N, 1, features]
        return sequence * mask.div_(keep)
