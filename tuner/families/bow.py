"""Bags of words: counts of word or character n-grams and a classifier (Harris, 1954)."""

from tuner.data.prepared import PreparedData
from tuner.families.parts.bag import build, export, load
from tuner.training import loop
from tuner.training.cohort import Cohort, Context

__all__ = ["build", "export", "load", "train"]


def train(cohort: Cohort, data: PreparedData, context: Context) -> None:
    """Train a cohort."""
    loop.train(cohort, data, context, build, load)
