"""Tiny pretrained models with random weights, written as real ones are."""

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

WORDS = "[PAD] [UNK] [CLS] [SEP] a good bad book value really very like hate fun no great at all it"


def bert(folder: Path, *, seed: int = 0, hidden: int = 16) -> Path:
    """A BERT of two layers."""
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=len(WORDS.split()),
        hidden_size=hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    transformers.BertModel(config).save_pretrained(folder)
    _tokenizer(cls_token="[CLS]", sep_token="[SEP]", template="[CLS] $A [SEP]").save_pretrained(
        folder
    )
    return folder


def gpt2(folder: Path) -> Path:
    """A GPT-2 of two layers; its tokenizer knows no padding."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=len(WORDS.split()), n_embd=16, n_layer=2, n_head=2, n_positions=32
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


def vit(folder: Path) -> Path:
    """A ViT for images of 16×16 pixels."""
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=16,
        patch_size=8,
    )
    transformers.ViTModel(config).save_pretrained(folder)
    return folder


def resnet(folder: Path) -> Path:
    """A ResNet of two stages, for images of any size."""
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
    )
    transformers.ResNetForImageClassification(config).save_pretrained(folder)
    return folder


def _tokenizer(
    *, template: str | None = None, **special: str
) -> transformers.PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate(WORDS.split())}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    if template is not None:
        tokenizer.post_processor = TemplateProcessing(
            single=template, special_tokens=[(t, vocabulary[t]) for t in ("[CLS]", "[SEP]")]
        )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", **special
    )
