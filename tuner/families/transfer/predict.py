"""Texts or images → labels, by a pretrained transformers encoder and the weights trained on it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tuner.families.bundle.predict.common import (
    Prediction,
    count_outputs,
    open_bundle,
    predict,
    read_tensors,
    serve,
)
from tuner.families.bundle.predict.images import serve_images
from tuner.families.bundle.predict.tables import lines_of
from tuner.families.transfer.encoder import Encoder, TextEncoder, image_encoder
from tuner.families.transfer.head import LORA_SCALE, build_head


class Classifier(nn.Module):
    """Inputs of the encoder → logits."""

    def __init__(self, encoder: Encoder, head: nn.Module, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.mean, self.std = state.get("mean"), state.get("std")  # of a frozen encoder's features

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits of a batch."""
        features = self.encoder(inputs)
        if self.mean is not None:
            features = (features - self.mean) / self.std
        logits: Tensor = self.head(features)
        return logits


def run(folder: Path) -> None:
    """Predict with the bundle in `folder`."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    content, params = open_bundle(folder)
    state = read_tensors(folder / "weights.safetensors")
    model = transformers.AutoModel.from_pretrained(
        folder / "encoder",
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        dtype=torch.float32,
    )
    pooling = params["pooling"]
    encoder: Encoder
    if content["kind"] == "images":
        size = content["encoder"]["size"]
        encoder = image_encoder(model, pooling, None if size is None else tuple(size))
    else:
        encoder = TextEncoder(model, pooling, reads_forward=content["encoder"]["reads_forward"])
    head = build_head(params, encoder.width, count_outputs(content))
    classifier = Classifier(encoder, head, state)
    _restore(classifier, state, params)
    classifier.eval()
    if content["kind"] == "images":
        serve_images(classifier, content)
        return
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        folder / "encoder", trust_remote_code=False, local_files_only=True
    )

    def predict_texts(texts: Sequence[str]) -> Iterator[Prediction]:
        rows = tokenizer(list(texts), truncation=True, max_length=content["encoder"]["max_tokens"])[
            "input_ids"
        ]
        rows = [ids or [0] for ids in rows]  # a tokenizer may find no token in a text
        padded = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.int64)
        for row, ids in enumerate(rows):
            padded[row, : len(ids)] = torch.tensor(ids) + 1  # 0 is padding
        yield from predict(classifier, padded, content)

    serve(predict_texts, lines_of, content["column"], "texts: tables, or files with one per line")


@torch.no_grad()
def _restore(model: Classifier, state: Mapping[str, Tensor], params: Mapping[str, Any]) -> None:
    """Load the trained weights; LoRA's products are added to the matrices they adapt."""
    weights = model.state_dict()
    for name, tensor in state.items():
        if name in ("base", "mean", "std") or ".lora_B." in name:
            continue
        if ".lora_A." not in name:
            weights[name].copy_(tensor)
            continue
        down, up = tensor, state[name.replace(".lora_A.", ".lora_B.")]
        delta = (up.flatten(1) @ down.flatten(1)) * LORA_SCALE
        adapted = name.partition(".lora_A.")[0]
        if isinstance(model.get_submodule(adapted), Conv1D):
            delta = delta.T  # GPT-2 stores its matrices transposed
        weight = weights[f"{adapted}.weight"]
        weight += delta.reshape(weight.shape)
