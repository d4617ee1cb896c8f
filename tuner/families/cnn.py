"""A convolutional network for images of any size and number of channels.

    image → [3×3 conv → (batch norm) → ReLU → 2×2 max pool] × depth → dense → ReLU → classes

With depth 2 and width 32 it is the two-convolution network of LeNet's line as today's tutorials
have it: conv 32 → pool → conv 64 → pool → dense → classes (LeCun et al., 1998). Residual blocks
have two convolutions and a shortcut around them in place of each (He et al., 2016).

While it is trained, images are shifted and flipped at random.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuner.data.prepared import PreparedData
from tuner.training import loop
from tuner.training.cohort import Cohort, Context
from tuner.trials import ParamValue

MAX_WIDTH = 512  # channels, however deep


class Augment(nn.Module):
    """Random shifts and mirrorings while training: images [N, C, H, W] → the same.

    An image is shifted by up to `shift` of its height and width, each way; what comes in is 0, the
    mean of normalized images. With `flip`, every second one is mirrored from left to right.
    """

    def __init__(self, shift: float, *, flip: bool) -> None:
        super().__init__()
        self.shift = shift
        self.flip = flip

    def forward(self, images: Tensor) -> Tensor:
        """The images, as they are unless training."""
        if not self.training or not (self.shift or self.flip):
            return images
        count, channels, height, width = images.shape
        rows, above = self._places(images, height)
        columns, left = self._places(images, width)
        if self.flip:
            mirrored = torch.rand(count, 1, device=images.device) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        padded = functional.pad(images, (left, left, above, above))
        numbers = torch.arange(count, device=images.device)[:, None, None, None]
        every = torch.arange(channels, device=images.device)[:, None, None]
        return padded[numbers, every, rows[:, None, :, None], columns[:, None, None, :]]

    def _places(self, images: Tensor, size: int) -> tuple[Tensor, int]:
        """Where each pixel of a side comes from in the padded image, [N, size]; the padding."""
        most = int(self.shift * size)
        first = torch.randint(0, 2 * most + 1, (len(images), 1), device=images.device)
        return first + torch.arange(size, device=images.device), most


class Residual(nn.Module):
    """Two convolutions and a shortcut: [N, channels, H, W] → [N, out, H, W]."""

    def __init__(self, channels: int, out: int, kernel: int, *, batch_norm: bool) -> None:
        super().__init__()
        self.first = convolution(channels, out, kernel, batch_norm=batch_norm)
        self.second = convolution(out, out, kernel, batch_norm=batch_norm)
        same = channels == out
        self.shortcut = (
            nn.Identity() if same else convolution(channels, out, 1, batch_norm=batch_norm)
        )

    def forward(self, images: Tensor) -> Tensor:
        """What the convolutions add to the images."""
        added: Tensor = self.second(functional.relu(self.first(images)))
        return functional.relu(added + self.shortcut(images))


def convolution(channels: int, out: int, kernel: int, *, batch_norm: bool) -> nn.Sequential:
    """A convolution that keeps the size of images, normalized if asked for."""
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
        """`filters` of the first convolution; each further one has twice as many."""
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
        """Logits of a batch."""
        logits: Tensor = self.classifier(self.features(self.augment(images)))
        return logits


def build(params: Mapping[str, ParamValue], data: PreparedData) -> nn.Module:
    """The network that a trial's parameters describe, for this data."""
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


def train(cohort: Cohort, data: PreparedData, context: Context) -> None:
    """Train a cohort."""
    loop.train(cohort, data, context, build)
