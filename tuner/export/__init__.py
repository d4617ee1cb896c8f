"""A configuration as a folder that can be used and defended: the bundle.

config.yaml            the parameters, pinned ones among them; on request in other forms too
result.json            what is claimed: metrics, their intervals, data, seed, versions
reproduce.yaml         a study file that trains just this configuration again
weights.safetensors    the trial's weights at its best epoch
preprocessing.json     vocabulary, classes, statistics: what inputs are made into
model.onnx             on request: the network for ONNX runtimes
predict.py             predicts with these files and torch alone; needs no tuner
vectors.txt            of word vectors, the same as gensim and others read them
encoder/               of pretrained models, the checkpoint
checkpoint/, artifacts/   of user code instead: its last checkpoint and its artifacts
card.md                all of that for people
lock.txt               every package that was installed
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
