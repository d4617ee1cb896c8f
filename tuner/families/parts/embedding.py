"""The first layer of the families that read texts: token ids → word vectors."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tuner.data.prepared import PreparedData

RANDOM_RANGE = 0.25  # of words without a vector, uniform in ± (Kim, 2014)


def embedding(params: Mapping[str, Any], data: PreparedData) -> nn.Embedding:
    """The layer that `embeddings` asks for: random, static or tuned.

    Random vectors have `embedding_size` dimensions and are trained; static and tuned ones come from
    the data's file, words that it lacks are drawn at random. Padding (token 0) is zero.
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
        given = torch.tensor(data.vectors())
        drawn = torch.empty_like(given).uniform_(-RANDOM_RANGE, RANDOM_RANGE)
        vectors = torch.where(given.isnan(), drawn, given)
    vectors[0] = 0.0
    return vectors


class Channels(nn.Module):
    """Two vectors of each word side by side, the same at first: one is kept, the other trained.

    Token ids [N, length] → [N, length, 2 * dimension]. The multichannel embeddings of Kim (2014).
    """

    def __init__(self, vectors: Tensor) -> None:
        """`vectors` [words, dimension]; row 0 is padding."""
        super().__init__()
        self.kept = nn.Embedding.from_pretrained(vectors, freeze=True, padding_idx=0)
        self.trained = nn.Embedding.from_pretrained(vectors.clone(), freeze=False, padding_idx=0)
        self.embedding_dim = 2 * vectors.shape[1]

    def forward(self, tokens: Tensor) -> Tensor:
        """Both vectors of each word."""
        return torch.cat([self.kept(tokens), self.trained(tokens)], dim=2)


class WordDropout(nn.Module):
    """Zeroes whole word vectors: [N, length, dimension] → the same."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, words: Tensor) -> Tensor:
        """The words, some of them zero while training."""
        if not self.training or self.share == 0:
            return words
        keep = 1.0 - self.share
        return words * torch.empty_like(words[..., :1]).bernoulli_(keep).div_(keep)


class VariationalDropout(nn.Module):
    """Zeroes the same features at every step of a sequence (Gal & Ghahramani, NIPS 2016).

    [N, length, features] → the same.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, sequence: Tensor) -> Tensor:
        """The sequence, some of its features zero while training."""
        if not self.training or self.share == 0:
            return sequence
        keep = 1.0 - self.share
        return sequence * torch.empty_like(sequence[:, :1]).bernoulli_(keep).div_(keep)
