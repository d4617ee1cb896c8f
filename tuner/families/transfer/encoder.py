"""A pretrained model as an encoder: token ids or images → one vector of features each.

Whatever transformers' `AutoModel` knows and that reads texts or images: encoders (BERT, ViT),
decoders (GPT-2), convolutional networks (ResNet) and what it wraps of timm. Its own head is left
out.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from tuner.errors import DataError
from tuner.files import shown

EVALUATION_BATCH = 64  # rows: a pretrained model holds much of each in memory
TIMM = "timm_wrapper"  # `model_type` of timm's models in transformers

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


class Encoder(nn.Module):
    """What is common to texts and images; inputs → features float32 [N, width]."""

    evaluation_batch = EVALUATION_BATCH

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    @property
    def width(self) -> int:
        """The number of features."""
        config = self.model.config
        sizes: Sequence[int] | None = getattr(config, "hidden_sizes", None)
        return int(sizes[-1] if sizes else config.hidden_size)

    @property
    def layers(self) -> tuple[str, Sequence[nn.Module]]:
        """Name and modules of the stack that holds most of the weights, in the order of data."""
        stacks = {
            name: module
            for name, module in self.named_modules()
            if isinstance(module, nn.ModuleList)
        }
        if not stacks:
            return "", []
        name = max(stacks, key=lambda key: sum(p.numel() for p in stacks[key].parameters()))
        return name, list(stacks[name])

    @property
    def depth(self) -> int:
        """The number of layers."""
        return len(self.layers[1])

    def depths(self) -> dict[str, int]:
        """Parameter → 0 before the layers, 1 … n in them, n + 1 behind them; without the pooler's.

        A pooler that a model brings along takes no part in the features.
        """
        stack, layers = self.layers
        found, depth = {}, 0
        for name, _ in self.named_parameters():
            if name.startswith(f"{stack}.") and stack:
                depth = int(name.removeprefix(f"{stack}.").split(".")[0]) + 1
            elif depth:
                depth = len(layers) + 1
            if not name.startswith("model.pooler."):
                found[name] = depth
        return found

    def adaptable(self) -> list[str]:
        """Names, within `model`, of the linear maps and convolutions in the layers, for LoRA."""
        depths, last = self.depths(), self.depth
        return [
            name.removeprefix("model.")
            for name, module in self.named_modules()
            if 0 < depths.get(f"{name}.weight", 0) <= last
            and (
                isinstance(module, nn.Linear | Conv1D)
                or (isinstance(module, nn.Conv2d) and module.groups == 1)
            )
        ]


class TextEncoder(Encoder):
    """Token ids + 1, int32 [N, length], 0 is padding → features [N, width].

    `pooling` cls: the state of the first token, of a model that reads forward that of the last;
    mean: the mean of all tokens' states.
    """

    def __init__(self, model: Any, pooling: str, *, reads_forward: bool) -> None:
        super().__init__(model)
        self.pooling = pooling
        self.reads_forward = reads_forward
        self.padding = int(model.config.pad_token_id or 0)

    def forward(self, tokens: Tensor) -> Tensor:
        """The features of a batch."""
        inside = tokens != 0
        ids = torch.where(inside, tokens.long() - 1, self.padding)
        states: Tensor = self.model(input_ids=ids, attention_mask=inside.long()).last_hidden_state
        if self.pooling == "mean":
            return (states * inside.unsqueeze(2)).sum(dim=1) / inside.sum(dim=1, keepdim=True)
        if not self.reads_forward:
            return states[:, 0]
        rows = torch.arange(len(states), device=states.device)
        return states[rows, inside.sum(dim=1) - 1]


class ImageEncoder(Encoder):
    """Normalized images float32 [N, 1 or C, height, width] → features [N, width].

    Gray images become ones of equal channels, all are resized to what the model was trained on.
    Convolutional networks are always pooled to the mean of all places.
    """

    def __init__(self, model: Any, pooling: str, *, size: tuple[int, int] | None) -> None:
        super().__init__(model)
        self.pooling = pooling
        self.size = size

    @property
    def channels(self) -> int:
        """Of the images that the model was trained on."""
        return int(self.model.config.num_channels)

    def forward(self, images: Tensor) -> Tensor:
        """The features of a batch."""
        states: Tensor = self.model(pixel_values=self._fitted(images)).last_hidden_state
        if states.ndim == 4:
            return states.mean(dim=(2, 3))
        return states[:, 0] if self.pooling == "cls" else states[:, 1:].mean(dim=1)

    def _fitted(self, images: Tensor) -> Tensor:
        if images.shape[1] == 1:
            images = images.expand(-1, self.channels, -1, -1)
        if self.size is not None and images.shape[2:] != self.size:
            images = functional.interpolate(images, self.size, mode="bilinear", antialias=True)
        return images


class TimmEncoder(ImageEncoder):
    """A model of timm, in transformers' wrapper: pooled as it was trained, layers as it says."""

    @property
    def width(self) -> int:
        """The number of features."""
        wrapped = self.model.timm_model
        return int(getattr(wrapped, "head_hidden_size", wrapped.num_features))

    @property
    def channels(self) -> int:
        """Of the images that the model was trained on."""
        config = self.model.config
        given = (config.model_args or {}).get("in_chans")
        return int(given or config.pretrained_cfg["input_size"][0])

    @property
    def depth(self) -> int:
        """The number of layers behind the first."""
        return max(self.depths().values())

    def depths(self) -> dict[str, int]:
        """Parameter → its layer, as timm numbers them for learning rates of their own."""
        from timm.models import group_parameters

        wrapped = self.model.timm_model
        layers = group_parameters(wrapped, wrapped.group_matcher(coarse=False), reverse=True)
        return {f"model.timm_model.{name}": int(layer) for name, layer in layers.items()}

    def forward(self, images: Tensor) -> Tensor:
        """The features of a batch."""
        features: Tensor = self.model(pixel_values=self._fitted(images)).pooler_output
        return features


def image_encoder(model: Any, pooling: str, size: tuple[int, int] | None) -> ImageEncoder:
    """The encoder around a model of transformers that reads images."""
    kind = TimmEncoder if model.config.model_type == TIMM else ImageEncoder
    return kind(model, pooling, size=size)


def load(folder: Path, kind: str, pooling: str) -> Encoder:
    """The encoder in a folder for texts or images; DataError if it is unfit or damaged."""
    where = shown(folder)
    try:
        model, report = transformers.AutoModel.from_pretrained(
            folder,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # transformers and safetensors raise nearly anything
        reason = " ".join((str(error).strip().splitlines() or [type(error).__name__])[0].split())
        raise DataError(f"{where}: cannot be loaded ({reason[:200]})") from error
    needed = {"text": "input_ids", "images": "pixel_values"}[kind]
    if model.main_input_name != needed or model.config.is_encoder_decoder:
        raise DataError(
            f"{where}: is a {model.config.model_type} model, which is no encoder of {kind}"
        )
    lacking = [name for name in report["missing_keys"] if not name.startswith("pooler.")]
    if lacking:
        raise DataError(f"{where}: its weights lack {len(lacking)} tensors, as {lacking[0]}")
    if kind == "text":
        reads_forward = tokenizer(folder).cls_token_id is None
        return TextEncoder(model, pooling, reads_forward=reads_forward)
    return image_encoder(model, pooling, _image_size(folder, model.config))


def tokenizer(folder: Path) -> Any:
    """The tokenizer in a folder; DataError without one."""
    try:
        return transformers.AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:
        reason = " ".join((str(error).strip().splitlines() or [type(error).__name__])[0].split())
        raise DataError(f"{shown(folder)}: has no usable tokenizer ({reason[:200]})") from error


def longest(folder: Path, most: int) -> int:
    """Tokens that a text may have: `most`, or less where the model has fewer positions."""
    config = transformers.AutoConfig.from_pretrained(
        folder, trust_remote_code=False, local_files_only=True
    )
    positions = getattr(config, "max_position_embeddings", None) or most
    return min(most, int(tokenizer(folder).model_max_length), int(positions))


def _image_size(folder: Path, config: Any) -> tuple[int, int] | None:
    """Height and width; None where any will do."""
    if config.model_type == TIMM:
        _, height, width = config.pretrained_cfg["input_size"]
        return int(height), int(width)
    size = getattr(config, "image_size", None)
    path = folder / "preprocessor_config.json"
    if size is None and path.is_file():
        size = json.loads(path.read_text(encoding="utf-8")).get("size")
    if isinstance(size, dict):
        size = [size[key] for key in ("height", "width") if key in size] or size.get(
            "shortest_edge"
        )
    if size is None:
        return None
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return int(height), int(width)
