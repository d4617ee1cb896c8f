"""Writes small models of timm as its hub holds them, and checks how tuner reads them.

Run by `tests/acceptance/test_timm.py` in a process of its own.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch.nn import functional

from tuner.data import prepare
from tuner.families import pretrained
from tuner.families.transfer import encoder as encoders
from tuner.study_file.data import DataSpec

SIZE = 32  # pixels
MODELS: dict[str, dict[str, Any]] = {  # with their layers
    "test_vit": {"img_size": SIZE, "patch_size": 8},
    "test_resnet": {},
    "test_convnext": {},
}


def write(folder: Path, name: str, arguments: dict[str, Any]) -> Any:
    """Save a model with random weights; returns it."""
    torch.manual_seed(0)
    shape = {"input_size": (3, SIZE, SIZE)}
    model = timm.create_model(name, pretrained_cfg_overlay=shape, **arguments)
    timm.models.save_for_hf(model, folder, safe_serialization=True)
    config = folder / "config.json"
    told = json.loads(config.read_text()) | {"model_args": arguments}
    config.write_text(json.dumps(told))
    return model.eval()


def check(folder: Path, model: Any) -> None:
    """Its features are timm's own, and of its layers the last ones or matrices are trained."""
    encoder = encoders.load(folder, "images", "cls").eval()
    images = torch.randn(5, 1, 8, 8)
    fitted = functional.interpolate(
        images.expand(-1, 3, -1, -1), (SIZE, SIZE), mode="bilinear", antialias=True
    )
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features(fitted), pre_logits=True)
        found = encoder(images)
    assert torch.equal(found, expected)
    assert found.shape[1] == encoder.width

    depths = encoder.depths()
    assert depths.keys() == {name for name, _ in encoder.named_parameters()}
    assert set(depths.values()) == set(range(encoder.depth + 1))
    data = prepare(DataSpec.model_validate({"source": "digits"}), folder.parent / "cache")
    params = {
        "checkpoint": str(folder), "pooling": "cls", "head": "linear", "dropout": 0.0,
        "trained_layers": 1, "lora_rank": 4, "encoder_learning_rate": 1e-3, "layer_decay": 0.5,
    }  # fmt: skip
    partial = pretrained.build({**params, "fine_tuning": "partial"}, data)
    for name, parameter in partial.encoder.named_parameters():
        assert parameter.requires_grad == (depths[name] >= encoder.depth), name
    lora = pretrained.build({**params, "fine_tuning": "lora"}, data)
    learned = [name for name, p in lora.encoder.named_parameters() if p.requires_grad]
    assert learned
    assert all(".lora_" in name for name in learned)
    full = pretrained.build({**params, "fine_tuning": "full"}, data)
    rates = full.learning_rates(params).values()
    assert np.isclose(max(rates), 1e-3)
    assert np.isclose(min(rates), 1e-3 * 0.5**encoder.depth)


if __name__ == "__main__":
    for name, arguments in MODELS.items():
        check(Path(sys.argv[1]) / name, write(Path(sys.argv[1]) / name, name, arguments))
