"""TF-IDF: n-grams weighted by how rare they are, and a classifier (Spärck Jones, 1972)."""

from tuner.families.code import Networks
from tuner.families.parts.bag import build, export, for_onnx, load

CODE = Networks(build, load=load, export=export, for_onnx=for_onnx)
