"""A pretrained model as an encoder: token ids or images → a vector of features per example.

Supports every model of transformers' `AutoModel` that reads texts or images: encoders (BERT, ViT),
decoders (GPT-2), convolutional networks (ResNet) and timm's models in its wrapper. The model's own
head is left out.
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

EVALUATION_BATCH = 64  # rows; a pretrained model needs much memory for each
TIMM = "timm_wrapper"  # `model_type` of timm's models in transformers

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


class Encoder(nn.Module):
    """The common base for texts and images: inputs → features float32 [N, width]."""

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
        """Name and modules, in order, of the stack of layers that holds most of the weights."""
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
        """Map each parameter to its depth: 0 before the layers, 1 … n in them, n + 1 after them.

        A model's pooler is missing, since it does not contribute to the features.
        """
        stack, layers = self.layers
        depths, depth = {}, 0
        for name, _ in self.named_parameters():
            if name.startswith(f"{stack}.") and stack:
                depth = int(name.removeprefix(f"{stack}.").split(".")[0]) + 1
            elif depth:
                depth = len(layers) + 1
            if not name.startswith("model.pooler."):
                depths[name] = depth
        return depths

    def lora_targets(self) -> list[str]:
        """Name the linear maps and convolutions in the layers, within `model`, for LoRA."""
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

    `pooling` cls: the state of the first token, or of the last one if the model only reads forward;
    mean: the mean of all tokens' states.
    """

    def __init__(self, model: Any, pooling: str, *, reads_forward: bool) -> None:
        super().__init__(model)
        self.pooling = pooling
        self.reads_forward = reads_forward
        self.padding = int(model.config.pad_token_id or 0)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the features of a batch."""
        mask = tokens != 0  # [N, length]
        ids = torch.where(mask, tokens.long() - 1, self.padding)
        states: Tensor = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        if self.pooling == "mean":
            return (states * mask.unsqueeze(2)).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        if not self.reads_forward:
            return states[:, 0]
        rows = torch.arange(len(states), device=states.device)
        return states[rows, mask.sum(dim=1) - 1]  # [N, width]


class ImageEncoder(Encoder):
    """Normalized images float32 [N, 1 or C, height, width] → features [N, width].

    Gray images get equal channels, and all images are resized to the size that the model was
    trained on. Convolutional networks are always pooled to the mean over all positions.
    """

    def __init__(self, model: Any, pooling: str, *, size: tuple[int, int] | None) -> None:
        super().__init__(model)
        self.pooling = pooling
        self.size = size

    @property
    def channels(self) -> int:
        """The number of channels of the images that the model was trained on."""
        return int(self.model.config.num_channels)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of a batch."""
        states: Tensor = self.model(pixel_values=self._fit(images)).last_hidden_state
        if states.ndim == 4:  # [N, width, height', width']
            return states.mean(dim=(2, 3))
        return states[:, 0] if self.pooling == "cls" else states[:, 1:].mean(dim=1)

    def _fit(self, images: Tensor) -> Tensor:
        if images.shape[1] == 1:
            images = images.expand(-1, self.channels, -1, -1)
        if self.size is not None and images.shape[2:] != self.size:
            images = functional.interpolate(images, self.size, mode="bilinear", antialias=True)
        return images


class TimmEncoder(ImageEncoder):
    """A timm model in transformers' wrapper, with its own pooling and its own layer groups."""

    @property
    def width(self) -> int:
        """The number of features."""
        timm_model = self.model.timm_model
        return int(getattr(timm_model, "head_hidden_size", timm_model.num_features))

    @property
    def channels(self) -> int:
        """The number of channels of the images that the model was trained on."""
        config = self.model.config
        channels = (config.model_args or {}).get("in_chans")
        return int(channels or config.pretrained_cfg["input_size"][0])

    @property
    def depth(self) -> int:
        """The number of layers after the first."""
        return max(self.depths().values())

    def depths(self) -> dict[str, int]:
        """Map each parameter to its layer, as timm numbers layers for layer-wise learning rates."""
        from timm.models import group_parameters

        timm_model = self.model.timm_model
        layers = group_parameters(timm_model, timm_model.group_matcher(coarse=False), reverse=True)
        return {f"model.timm_model.{name}": int(layer) for name, layer in layers.items()}

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of a batch."""
        features: Tensor = self.model(pixel_values=self._fit(images)).pooler_output
        return features


def image_encoder(model: Any, pooling: str, size: tuple[int, int] | None) -> ImageEncoder:
    """Wrap a transformers model that reads images."""
    kind = TimmEncoder if model.config.model_type == TIMM else ImageEncoder
    return kind(model, pooling, size=size)


def load(folder: Path, kind: str, pooling: str) -> Encoder:
    """Load a folder's encoder of texts or images; DataError if it is unfit or damaged."""
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
    input_name = {"text": "input_ids", "images": "pixel_values"}[kind]
    if model.main_input_name != input_name or model.config.is_encoder_decoder:
        raise DataError(
            f"{where}: is a {model.config.model_type} model, which is no encoder of {kind}"
        )
    missing = [name for name in report["missing_keys"] if not name.startswith("pooler.")]
    if missing:
        raise DataError(f"{where}: its weights lack {len(missing)} tensors, such as {missing[0]}")
    if kind == "text":
        reads_forward = load_tokenizer(folder).cls_token_id is None
        return TextEncoder(model, pooling, reads_forward=reads_forward)
    return image_encoder(model, pooling, _image_size(folder, model.config))


def load_tokenizer(folder: Path) -> Any:
    """Load a folder's tokenizer; DataError if there is none."""
    try:
        return transformers.AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:
        reason = " ".join((str(error).strip().splitlines() or [type(error).__name__])[0].split())
        raise DataError(f"{shown(folder)}: has no usable tokenizer ({reason[:200]})") from error


def max_tokens(folder: Path, limit: int) -> int:
    """Return the number of tokens per text: `limit`, or fewer if the model has fewer positions."""
    config = transformers.AutoConfig.from_pretrained(
        folder, trust_remote_code=False, local_files_only=True
    )
    positions = getattr(config, "max_position_embeddings", None) or limit
    return min(limit, int(load_tokenizer(folder).model_max_length), int(positions))


def _image_size(folder: Path, config: Any) -> tuple[int, int] | None:
    """Read the height and width of the model's images; None if any size will do."""
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
