"""Fine-tuning: a pretrained text or image model with a new output layer.

    inputs → pretrained encoder → one vector (cls or mean) → linear layer or MLP → classes

The encoder is kept (frozen: its features are computed once and cached), or training changes its
last layers (partial), small matrices beside its own (lora; Hu et al., ICLR 2022), or all of it
(full). The head learns at `learning_rate`, the encoder at `encoder_learning_rate`, which falls by
`layer_decay` from each layer to the one before it (Howard & Ruder, ACL 2018). Weights hold only
what was trained, and the digest of the checkpoint that they belong to.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import peft
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tuner.data.prepared import PartName, PreparedData
from tuner.errors import DataError
from tuner.families.code import Networks
from tuner.families.transfer import encoder as encoders
from tuner.families.transfer import features, files
from tuner.families.transfer.encoder import EVALUATION_BATCH, Encoder
from tuner.families.transfer.head import LORA_SCALE, build_head
from tuner.study_file.messages import quoted
from tuner.training import resident
from tuner.training.cohort import Cohort
from tuner.training.network import Batches
from tuner.trials import ParamValue


class Classifier(nn.Module):
    """A pretrained encoder with a new head: the encoder's inputs → logits [N, classes]."""

    base: Tensor

    def __init__(self, encoder: Encoder, head: nn.Module, folder: Path) -> None:
        """Wrap an encoder that was loaded from the checkpoint in `folder`."""
        super().__init__()
        self._folder = folder
        self.encoder = encoder
        self.head = head
        self.register_buffer("base", _digest(folder))
        self.evaluation_batch = EVALUATION_BATCH

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits of a batch."""
        features = self.encoder(inputs)  # [N, width]
        logits: Tensor = self.head(features)
        return logits

    def train(self, mode: bool = True) -> "Classifier":
        """Keep frozen parts in evaluation mode: no dropout, no changing statistics."""
        super().train(mode)
        if mode:
            for module in self.encoder.modules():
                parameters = list(module.parameters())
                if parameters and not any(p.requires_grad for p in parameters):
                    module.eval()
        return self

    def learning_rates(self, params: Mapping[str, Any]) -> dict[str, float]:
        """Return the learning rate of each encoder parameter; the head uses `learning_rate`."""
        decay = float(params.get("layer_decay") or 1.0)
        depths = self.encoder.depths()
        top = self.encoder.depth
        return {
            f"encoder.{name}": params["encoder_learning_rate"] * decay ** max(top - depth, 0)
            for name, depth in depths.items()
        }

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return only trained parameters, and the statistics of the layers they are in."""
        state: dict[str, Any] = super().state_dict(*args, **kwargs)
        names = self._trained_names()
        return {name: tensor for name, tensor in state.items() if name in names}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load what `state_dict` returned; DataError if the checkpoint was another one."""
        _check_base(self._folder, state_dict)
        if strict and state_dict.keys() != self._trained_names():
            raise RuntimeError("the file holds the tensors of another model")
        return super().load_state_dict(state_dict, strict=False, assign=assign)

    def _trained_names(self) -> set[str]:
        names = {name for name, p in self.named_parameters() if p.requires_grad} | {"base"}
        modules = dict(self.named_modules())
        for name, _ in self.named_buffers():
            owner = modules[name.rpartition(".")[0]]
            if any(p.requires_grad for p in owner.parameters()):
                names.add(name)
        return names & super().state_dict().keys()


class FrozenClassifier(nn.Module):
    """A head on a frozen encoder: features float32 [N, width] → logits [N, classes]."""

    mean: Tensor
    std: Tensor
    base: Tensor

    def __init__(self, features: Tensor, head: nn.Module, folder: Path) -> None:
        """Standardize by the training part's `features` [N, width]."""
        super().__init__()
        self._folder = folder
        self.head = head
        std = features.std(dim=0, correction=0)
        self.register_buffer("mean", features.mean(dim=0))
        self.register_buffer("std", torch.where(std < 1e-6, 1.0, std))  # some are constant
        self.register_buffer("base", _digest(folder))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits of a batch."""
        logits: Tensor = self.head((inputs - self.mean) / self.std)
        return logits

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load a state dict; DataError if it belongs to the features of another checkpoint."""
        _check_base(self._folder, state_dict)
        return super().load_state_dict(state_dict, strict=strict, assign=assign)


def _digest(folder: Path) -> Tensor:
    return torch.frombuffer(bytearray(files.digest(folder)), dtype=torch.uint8)


def _check_base(folder: Path, state: Mapping[str, Tensor]) -> None:
    if "base" in state and not files.is_digest(state["base"].cpu().numpy().tobytes(), folder):
        raise DataError("the pretrained checkpoint has changed since this was trained")


def build(params: Mapping[str, ParamValue], data: PreparedData) -> nn.Module:
    """Build the classifier that a trial's parameters describe."""
    p: Mapping[str, Any] = params
    folder = files.locate(p["checkpoint"])
    if p["fine_tuning"] == "frozen":
        prepared = features.prepare_features(p, data, torch.device("cpu"))
        inputs = torch.tensor(prepared.part("train").inputs)
        return FrozenClassifier(inputs, build_head(p, inputs.shape[1], data.outputs), folder)
    encoder = encoders.load(folder, data.kind, p["pooling"])
    if data.kind == "images":
        assert isinstance(encoder, encoders.ImageEncoder)
        channels = data.input_shape[0]
        if channels not in (1, encoder.channels):
            raise DataError(
                f"the images have {channels} channels, the checkpoint was trained on "
                f"{encoder.channels}"
            )
    _unfreeze(encoder, p)
    return Classifier(encoder, build_head(p, encoder.width, data.outputs), folder)


def load(
    params: Mapping[str, ParamValue], data: PreparedData, name: PartName, device: torch.device
) -> Batches:
    """Load a part: the features of a frozen encoder, else the encoder's inputs."""
    if params["fine_tuning"] == "frozen":
        return resident.load(features.prepare_features(params, data, device), name, device)
    return resident.load(features.prepare_inputs(params, data), name, device)


def check(cohort: Cohort) -> None:
    """Raise DataError if a checkpoint has changed since the study's launch."""
    for name in {str(task.params["checkpoint"]) for task in cohort.tasks}:
        digest = cohort.checkpoints.get(name)  # None for studies of former versions
        if digest is not None and not files.is_digest(bytes.fromhex(digest), files.locate(name)):
            raise DataError(
                f"{quoted(name)}: has changed since the study was launched, so its trials could "
                "not be compared; launch it again under another name"
            )


def export(
    params: Mapping[str, ParamValue], data: PreparedData, weights: Path, folder: Path
) -> dict[str, Any]:
    """Copy the checkpoint's files to `encoder/` of a bundle; returns how to make its inputs."""
    p: Mapping[str, Any] = params
    source, copy = files.locate(p["checkpoint"]), folder / files.BUNDLED
    copy.mkdir()
    base = load_file(weights)["base"].numpy().tobytes()
    for path in files.files_to_bundle(source, base):
        shutil.copyfile(path, copy / path.name)
    if data.kind == "images":
        encoder = encoders.load(source, data.kind, p["pooling"])
        assert isinstance(encoder, encoders.ImageEncoder)
        return {"encoder": {"size": encoder.size}}
    return {
        "encoder": {
            "max_tokens": encoders.max_tokens(source, p["max_length"]),
            "reads_forward": encoders.load_tokenizer(source).cls_token_id is None,
        }
    }


def _unfreeze(encoder: Encoder, p: Mapping[str, Any]) -> None:
    """Make the parts of the encoder trainable that `fine_tuning` names."""
    depths = encoder.depths()
    layers = encoder.depth
    lowest = {"full": 0, "partial": layers + 1 - p.get("trained_layers", 0), "lora": layers + 2}
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad = depths.get(name, -1) >= max(lowest[p["fine_tuning"]], 0)
    if p["fine_tuning"] == "lora":
        rank = p["lora_rank"]
        config = peft.LoraConfig(
            r=rank,
            lora_alpha=LORA_SCALE * rank,
            target_modules=encoder.lora_targets(),
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in encoder.modules()),
        )
        peft.inject_adapter_in_model(config, encoder.model)


CODE = Networks(build, load=load, export=export, upstream=features.encoder_costs, check=check)
