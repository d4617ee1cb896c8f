"""What is put on a pretrained encoder: the head; and how LoRA's matrices are scaled."""

from collections.abc import Mapping
from typing import Any

from torch import nn

LORA_SCALE = 2  # lora_alpha / rank


def build_head(p: Mapping[str, Any], width: int, classes: int) -> nn.Module:
    """Build the layers from features [N, width] to logits [N, classes]."""
    if p["head"] == "linear":
        return nn.Sequential(nn.Dropout(p["dropout"]), nn.Linear(width, classes))
    return nn.Sequential(
        nn.Dropout(p["dropout"]),
        nn.Linear(width, p["hidden"]),
        nn.GELU(),
        nn.Dropout(p["dropout"]),
        nn.Linear(p["hidden"], classes),
    )
