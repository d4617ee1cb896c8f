"""A convolutional network for images of any size and number of channels.

    image → [3×3 conv → (batch norm) → ReLU → 2×2 max pool] × depth → dense → ReLU → classes

With depth 2 and width 32 it is the two-convolution network of LeNet's line as today's tutorials
have it: conv 32 → pool → conv 64 → pool → dense → classes (LeCun et al., 1998).
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from tuner.data.prepared import Prepared
from tuner.training import loop
from tuner.training.cohort import Cohort, Context
from tuner.trials import ParamValue

MAX_WIDTH = 512  # channels, however deep


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
        dropout: float = 0.0,
    ) -> None:
        """`filters` of the first convolution; each further one has twice as many."""
        super().__init__()
        layers: list[nn.Module] = []
        for block in range(depth):
            out = min(filters * 2**block, MAX_WIDTH)
            layers.append(
                nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=not batch_norm)
            )
            if batch_norm:
                layers.append(nn.BatchNorm2d(out))
            layers.append(nn.ReLU(inplace=True))
            if min(height, width) >= 2:  # a pixel cannot be pooled any further
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
            channels = out
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
        logits: Tensor = self.classifier(self.features(images))
        return logits


def build(params: Mapping[str, ParamValue], data: Prepared) -> nn.Module:
    """The network that a trial's parameters describe, for this data."""
    p: Mapping[str, Any] = params
    channels, height, width = data.input_shape
    return CNN(
        channels,
        height,
        width,
        len(data.classes),
        depth=p["depth"],
        filters=p["filters"],
        kernel=p["kernel"],
        dense=p["dense"],
        batch_norm=p["batch_norm"],
        dropout=p["dropout"],
    )


def train(cohort: Cohort, data: Prepared, context: Context) -> None:
    """Train a cohort."""
    loop.train(cohort, data, context, build)
