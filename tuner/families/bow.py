"""Bags of words: counts of word or character n-grams and a classifier (Harris, 1954)."""

from tuner.families.code import Networks
from tuner.families.parts.bag import build, export, for_onnx, load

CODE = Networks(build, load=load, export=export, for_onnx=for_onnx)
