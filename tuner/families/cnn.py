"""A convolutional network for images of any size and number of channels.

    image → [3×3 conv → (batch norm) → ReLU → 2×2 max pool] × depth → dense → ReLU → classes

With depth 2 and 32 filters it is the modern form of LeNet, as tutorials show it: conv 32 → pool →
conv 64 → pool → dense → classes (LeCun et al., 1998). A residual block replaces each convolution
by two with a shortcut around them (He et al., 2016).

Training shifts and flips images at random.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuner.data.prepared import PreparedData
from tuner.families.code import Networks
from tuner.trials import ParamValue

MAX_WIDTH = 512  # channels, however deep


class Augment(nn.Module):
    """Shift and mirror images at random while training: [N, C, H, W] → [N, C, H, W].

    `shift` is the largest shift in each direction, as a fraction of height and width; the border
    that appears is 0, the mean of normalized images. `flip` mirrors half of the images from left to
    right.
    """

    def __init__(self, shift: float, *, flip: bool) -> None:
        super().__init__()
        self.shift = shift
        self.flip = flip

    def forward(self, images: Tensor) -> Tensor:
        """Augment a batch; outside training it stays as it is."""
        if not self.training or not (self.shift or self.flip):
            return images
        count, channels, height, width = images.shape
        rows, row_padding = self._sample_indices(images, height)  # [N, H]
        columns, column_padding = self._sample_indices(images, width)  # [N, W]
        if self.flip:
            mirrored = torch.rand(count, 1, device=images.device) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        padded = functional.pad(images, (column_padding, column_padding, row_padding, row_padding))
        batch = torch.arange(count, device=images.device)[:, None, None, None]
        channel = torch.arange(channels, device=images.device)[:, None, None]
        return padded[batch, channel, rows[:, None, :, None], columns[:, None, None, :]]

    def _sample_indices(self, images: Tensor, size: int) -> tuple[Tensor, int]:
        """Source of each pixel along one side of the padded images, [N, size], and the padding."""
        padding = int(self.shift * size)
        offset = torch.randint(0, 2 * padding + 1, (len(images), 1), device=images.device)
        return offset + torch.arange(size, device=images.device), padding


class Residual(nn.Module):
    """Two convolutions and a shortcut around them: [N, channels, H, W] → [N, out, H, W]."""

    def __init__(self, channels: int, out: int, kernel: int, *, batch_norm: bool) -> None:
        super().__init__()
        self.first = convolution(channels, out, kernel, batch_norm=batch_norm)
        self.second = convolution(out, out, kernel, batch_norm=batch_norm)
        self.shortcut = (
            nn.Identity()
            if channels == out
            else convolution(channels, out, 1, batch_norm=batch_norm)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Add the convolutions' residual to the shortcut."""
        residual: Tensor = self.second(functional.relu(self.first(images)))
        return functional.relu(residual + self.shortcut(images))


def convolution(channels: int, out: int, kernel: int, *, batch_norm: bool) -> nn.Sequential:
    """A convolution that keeps height and width, optionally batch-normalized."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=not batch_norm)
    ]
    return nn.Sequential(*layers, *([nn.BatchNorm2d(out)] if batch_norm else []))


class CNN(nn.Module):
    """Images float32 [N, channels, height, width] → logits [N, classes]."""

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        classes: int,
        *,
        depth: int = 2,
        filters: int = 32,
        kernel: int = 3,
        dense: int = 128,
        batch_norm: bool = False,
        residual: bool = False,
        dropout: float = 0.0,
        shift: float = 0.0,
        flip: bool = False,
    ) -> None:
        """Build the layers; `filters` is that of the first block and doubles with each block."""
        super().__init__()
        layers: list[nn.Module] = []
        for block in range(depth):
            out = min(filters * 2**block, MAX_WIDTH)
            if residual:
                layers.append(Residual(channels, out, kernel, batch_norm=batch_norm))
            else:
                layers += convolution(channels, out, kernel, batch_norm=batch_norm)
                layers.append(nn.ReLU(inplace=True))
            if min(height, width) >= 2:  # a pixel cannot be pooled any further
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
            channels = out
        self.augment = Augment(shift, flip=flip)
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(channels * height * width, dense),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(dense, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of a batch."""
        features = self.features(self.augment(images))  # [N, channels, H', W']
        logits: Tensor = self.classifier(features)  # [N, classes]
        return logits


def build(params: Mapping[str, ParamValue], data: PreparedData) -> nn.Module:
    """Build the network that a trial's parameters describe."""
    p: Mapping[str, Any] = params
    channels, height, width = data.input_shape
    return CNN(
        channels,
        height,
        width,
        data.outputs,
        depth=p["depth"],
        filters=p["filters"],
        kernel=p["kernel"],
        dense=p["dense"],
        batch_norm=p["batch_norm"],
        residual=p["residual"],
        dropout=p["dropout"],
        shift=p["shift"],
        flip=p["flip"],
    )


CODE = Networks(build)
