"""Models of timm, installed apart (`make .venv/.dev`): from study file to repeated export."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import repeated_as_exported, tuner

TIMM = Path(sys.prefix) / "timm"
ROOT = Path(__file__).parents[2]
STUDY = """
name: shapes
family: pretrained
data: digits
budget: {trials: 2, epochs: 1}
search: {checkpoint: test_resnet, fine_tuning: [partial, lora], batch_size: 64}
enqueue: [{fine_tuning: partial}, {fine_tuning: lora}]
pruner: none
resources: {device: cpu, workers: 1, threads: 1}
"""


@pytest.mark.skipif(not TIMM.is_dir(), reason="timm is not installed beside this Python")
def test_models_of_timm_are_read_tuned_and_repeated(
    environment: dict[str, str], tmp_path: Path
) -> None:
    there = {
        **environment,
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "tests" / "support" / "timm", TIMM))),
    }
    command = [sys.executable, "-m", "tests.support.timm.checks", str(tmp_path)]
    checked = subprocess.run(
        command, env=there, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr

    file = tmp_path / "shapes.yaml"
    file.write_text(STUDY, encoding="utf-8")
    refused = tuner("launch", str(file), environment=environment, cwd=tmp_path)
    assert refused.returncode == 2
    assert "needs the package timm, which is not installed" in refused.stderr
    repeated_as_exported(file, "shapes", there, tmp_path)
