"""Export a configuration as a bundle: a folder to use, and to check.

config.yaml            the parameters, pinned ones included; in other formats on request
result.json            the claims: metrics, their intervals, data, seed, versions
reproduce.yaml         a study file that trains exactly this configuration again
weights.safetensors    the trial's weights at its best epoch
preprocessing.json     vocabulary, classes, statistics: how inputs are encoded
model.onnx             on request: the network for ONNX runtimes
predict.py             predicts with these files and torch; needs no tuner
vectors.txt            word vectors, in the format of gensim and others
encoder/               the checkpoint of pretrained models
checkpoint/, artifacts/   of user code instead: its last checkpoint and its artifacts
card.md                a summary for people
lock.txt               every installed package
manifest.json          the SHA-256 of each of these files
"""

from tuner.export.folder import BundleOptions, Exported, export, is_export_of
from tuner.export.formats import FORMATS
from tuner.export.result import all_params, versions, yaml_text

__all__ = [
    "FORMATS",
    "BundleOptions",
    "Exported",
    "all_params",
    "export",
    "is_export_of",
    "versions",
    "yaml_text",
]
