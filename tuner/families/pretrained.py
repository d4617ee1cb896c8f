"""Fine-tuning: a pretrained text or image model with a new output layer.

    inputs → pretrained encoder → one vector (cls or mean) → linear layer or MLP → classes

Of the encoder, nothing is trained (frozen: its features are computed once and cached), its last
layers (partial), small matrices beside its own (lora; Hu et al., ICLR 2022), or everything (full).
The head learns at `learning_rate`, the encoder at `encoder_learning_rate`, which falls by
`layer_decay` from each layer to the one before it (Howard & Ruder, ACL 2018). Weights hold what was
trained alone, and the digest of the checkpoint that it belongs to.
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
    """Inputs of the encoder → logits [N, classes]."""

    base: Tensor

    def __init__(self, encoder: Encoder, head: nn.Module, folder: Path) -> None:
        """`folder` holds the checkpoint that the encoder was loaded from."""
        super().__init__()
        self._folder = folder
        self.encoder = encoder
        self.head = head
        self.register_buffer("base", _base(folder))
        self.evaluation_batch = EVALUATION_BATCH

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits of a batch."""
        logits: Tensor = self.head(self.encoder(inputs))
        return logits

    def train(self, mode: bool = True) -> "Classifier":
        """Parts that are not trained stay as in evaluation: no dropout, no moving statistics."""
        super().train(mode)
        if mode:
            for module in self.encoder.modules():
                parameters = list(module.parameters())
                if parameters and not any(p.requires_grad for p in parameters):
                    module.eval()
        return self

    def learning_rates(self, params: Mapping[str, Any]) -> dict[str, float]:
        """The encoder's parameters → their learning rate; the head's is the usual one."""
        decay = float(params.get("layer_decay") or 1.0)
        depths = self.encoder.depths()
        top = self.encoder.depth
        return {
            f"encoder.{name}": params["encoder_learning_rate"] * decay ** max(top - depth, 0)
            for name, depth in depths.items()
        }

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """What is trained alone: parameters, and the statistics of layers that are trained."""
        whole: dict[str, Any] = super().state_dict(*args, **kwargs)
        trained = self._trained()
        return {name: tensor for name, tensor in whole.items() if name in trained}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """What is trained; DataError if it was trained beside another checkpoint."""
        _check_base(self._folder, state_dict)
        if strict and state_dict.keys() != self._trained():
            raise RuntimeError("the file holds the tensors of another model")
        return super().load_state_dict(state_dict, strict=False, assign=assign)

    def _trained(self) -> set[str]:
        names = {name for name, p in self.named_parameters() if p.requires_grad} | {"base"}
        modules = dict(self.named_modules())
        for name, _ in self.named_buffers():
            owner = modules[name.rpartition(".")[0]]
            if any(p.requires_grad for p in owner.parameters()):
                names.add(name)
        return names & super().state_dict().keys()


class FrozenClassifier(nn.Module):
    """Features float32 [N, width] of a frozen encoder → logits [N, classes]."""

    mean: Tensor
    std: Tensor
    base: Tensor

    def __init__(self, seen: Tensor, head: nn.Module, folder: Path) -> None:
        """`seen` [N, width] are features of the training part, by which all are standardized."""
        super().__init__()
        self._folder = folder
        self.head = head
        std = seen.std(dim=0, correction=0)
        self.register_buffer("mean", seen.mean(dim=0))
        self.register_buffer("std", torch.where(std < 1e-6, 1.0, std))  # some are constant
        self.register_buffer("base", _base(folder))

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits of a batch."""
        logits: Tensor = self.head((inputs - self.mean) / self.std)
        return logits

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """DataError if it was trained on the features of another checkpoint."""
        _check_base(self._folder, state_dict)
        return super().load_state_dict(state_dict, strict=strict, assign=assign)


def _base(folder: Path) -> Tensor:
    return torch.frombuffer(bytearray(files.digest(folder)), dtype=torch.uint8)


def _check_base(folder: Path, state: Mapping[str, Tensor]) -> None:
    if "base" in state and not files.is_digest(state["base"].cpu().numpy().tobytes(), folder):
        raise DataError("the pretrained checkpoint is another one than when this was trained")


def build(params: Mapping[str, ParamValue], data: PreparedData) -> nn.Module:
    """The classifier that a trial's parameters describe, for this data."""
    p: Mapping[str, Any] = params
    folder = files.folder(p["checkpoint"])
    if p["fine_tuning"] == "frozen":
        seen = torch.tensor(features.features(p, data, torch.device("cpu")).part("train").inputs)
        return FrozenClassifier(seen, build_head(p, seen.shape[1], data.outputs), folder)
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
    """The part as the model takes it: features where the encoder is frozen, else its inputs."""
    if params["fine_tuning"] == "frozen":
        return resident.load(features.features(params, data, device), name, device)
    return resident.load(features.inputs(params, data), name, device)


def check(cohort: Cohort) -> None:
    """DataError if a checkpoint is another one than at the study's launch."""
    for name in {str(task.params["checkpoint"]) for task in cohort.tasks}:
        known = cohort.checkpoints.get(name)  # none: a study of an older tuner
        if known is not None and not files.is_digest(bytes.fromhex(known), files.folder(name)):
            raise DataError(
                f"{quoted(name)}: is another model than when the study was launched, so its trials "
                "could not be compared; launch it anew under another name"
            )


def export(
    params: Mapping[str, ParamValue], data: PreparedData, weights: Path, folder: Path
) -> dict[str, Any]:
    """Copy the checkpoint's files to `encoder/` of a bundle; what its inputs are made into."""
    p: Mapping[str, Any] = params
    source, copy = files.folder(p["checkpoint"]), folder / files.BUNDLED
    copy.mkdir()
    base = load_file(weights)["base"].numpy().tobytes()
    for path in files.copied(source, base):
        shutil.copyfile(path, copy / path.name)
    if data.kind == "images":
        encoder = encoders.load(source, data.kind, p["pooling"])
        assert isinstance(encoder, encoders.ImageEncoder)
        return {"encoder": {"size": encoder.size}}
    return {
        "encoder": {
            "max_tokens": encoders.longest(source, p["max_length"]),
            "reads_forward": encoders.tokenizer(source).cls_token_id is None,
        }
    }


def _unfreeze(encoder: Encoder, p: Mapping[str, Any]) -> None:
    """Let that of the encoder be trained which `fine_tuning` says."""
    depths = encoder.depths()
    layers = encoder.depth
    first = {"full": 0, "partial": layers + 1 - p.get("trained_layers", 0), "lora": layers + 2}
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad = depths.get(name, -1) >= max(first[p["fine_tuning"]], 0)
    if p["fine_tuning"] == "lora":
        rank = p["lora_rank"]
        config = peft.LoraConfig(
            r=rank,
            lora_alpha=LORA_SCALE * rank,
            target_modules=encoder.adaptable(),
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in encoder.modules()),
        )
        peft.inject_adapter_in_model(config, encoder.model)


CODE = Networks(build, load=load, export=export, upstream=features.cost, check=check)
