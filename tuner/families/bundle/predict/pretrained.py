"""Texts or images → labels, by a pretrained encoder of transformers and what was trained of it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tuner.families.bundle.predict.common import (
    Answer,
    answer,
    opened,
    outputs,
    predicted,
    read_tensors,
)
from tuner.families.bundle.predict.images import serve
from tuner.families.bundle.predict.tables import lines_of
from tuner.families.pretrained import LORA_SCALE, _head
from tuner.families.transfer.encoder import Encoder, TextEncoder, image_encoder


class Classifier(nn.Module):
    """Inputs of the encoder → logits."""

    def __init__(self, encoder: Encoder, head: nn.Module, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.mean, self.std = state.get("mean"), state.get("std")  # of a frozen encoder's features

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits of a batch."""
        features = self.encoder(inputs)
        if self.mean is not None:
            features = (features - self.mean) / self.std
        logits: Tensor = self.head(features)
        return logits


def run(folder: Path) -> None:
    """The program."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    content, params = opened(folder)
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
    head = _head(params, encoder.width, outputs(content))
    classifier = Classifier(encoder, head, state)
    _take_on(classifier, state, params)
    classifier.eval()
    if content["kind"] == "images":
        serve(classifier, content)
        return
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        folder / "encoder", trust_remote_code=False, local_files_only=True
    )

    def answers(texts: Sequence[str]) -> Iterator[Answer]:
        found = tokenizer(
            list(texts), truncation=True, max_length=content["encoder"]["max_tokens"]
        )["input_ids"]
        found = [ids or [0] for ids in found]  # a tokenizer may know nothing of a text
        padded = torch.zeros(len(found), max(map(len, found)), dtype=torch.int64)
        for row, ids in enumerate(found):
            padded[row, : len(ids)] = torch.tensor(ids) + 1  # 0 is padding
        yield from predicted(classifier, padded, content)

    answer(answers, lines_of, content["column"], "texts: tables, or files with one a line")


@torch.no_grad()
def _take_on(model: Classifier, state: Mapping[str, Tensor], params: Mapping[str, Any]) -> None:
    """Put what was trained into its places; LoRA's matrices are added to those beside them."""
    mine = model.state_dict()
    for name, tensor in state.items():
        if name in ("base", "mean", "std") or ".lora_B." in name:
            continue
        if ".lora_A." not in name:
            mine[name].copy_(tensor)
            continue
        down, up = tensor, state[name.replace(".lora_A.", ".lora_B.")]
        added = (up.flatten(1) @ down.flatten(1)) * LORA_SCALE
        beside = name.partition(".lora_A.")[0]
        if isinstance(model.get_submodule(beside), Conv1D):
            added = added.T  # GPT-2 stores its matrices so
        weight = mine[f"{beside}.weight"]
        weight += added.reshape(weight.shape)
