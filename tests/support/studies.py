"""Small study files for the acceptance tests, on real digits."""

from pathlib import Path

QUICK = """
name: {name}
family: cnn
data: digits
budget: {{trials: {trials}, epochs: {epochs}}}
search:
  learning_rate: {{low: 0.001, high: 0.02}}
  batch_size: {batch}
  optimizer: [adam, adamw]
  schedule: constant
  warmup: 0
  depth: 1
  filters: {filters}
  kernel: 3
  dense: 32
  batch_norm: false
  residual: false
  shift: 0
  flip: false
pruner: {{name: rungs, startup_trials: 3}}
resources: {{device: cpu, workers: 1, threads: 1}}
"""


def quick(
    folder: Path,
    name: str = "quick",
    *,
    trials: int = 6,
    epochs: int = 2,
    batch: int = 128,
    filters: int = 8,
    more: str = "",
) -> Path:
    """A study of which a trial takes a fraction of a second."""
    path = folder / f"{name}.yaml"
    text = QUICK.format(name=name, trials=trials, epochs=epochs, batch=batch, filters=filters)
    path.write_text(text + more, encoding="utf-8")
    return path


def slow(folder: Path, name: str = "slow", *, trials: int = 6) -> Path:
    """A study whose trials take seconds: time to kill something in the middle."""
    path = quick(folder, name, trials=trials, epochs=40, batch=16, filters=24)
    path.write_text(
        path.read_text(encoding="utf-8").replace(
            "pruner: {name: rungs, startup_trials: 3}", "pruner: none"
        ),
        encoding="utf-8",
    )
    return path
