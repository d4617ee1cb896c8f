"""A family that an installed package brings works like tuner's own, from run to verify."""

import json
import math
import subprocess
import sys
from pathlib import Path

from tests.support.family_packages import Environment, documented, install
from tests.support.waiting import STUCK

STUDY = """
name: digits
family: perceptron
data: digits
budget: {trials: 2, epochs: 2}
search: {hidden: 16}
resources: {device: cpu, threads: 1, workers: 1}
"""
CARD, CODE = "acme_families/perceptron.yaml", "acme_families/perceptron.py"


def test_the_documented_family_of_a_package(environment: dict[str, str], tmp_path: Path) -> None:
    files = documented()
    assert set(files) == {CARD, CODE, "pyproject.toml"}
    python = Environment(tmp_path / "venv")
    install(
        python.packages,
        "acme-families",
        {"perceptron": "acme_families.perceptron", "torn": "acme_families.torn"},
        {name: files[name] for name in (CARD, CODE)},
    )
    (tmp_path / "digits.yaml").write_text(STUDY)

    def tuner(*arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(python.python), "-m", "tuner", *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=STUCK,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done

    listed = tuner("families")
    assert "A network with one hidden layer, for images." in listed.stdout
    assert listed.stderr == (
        "warning: family `torn` of the package acme-families 1.0 cannot be used: there is no "
        "module `acme_families.torn`\n"
    )
    tuner("run", "digits.yaml", "--json")
    bundle = tmp_path / "exports" / "digits"
    result = json.loads((bundle / "result.json").read_text())
    assert result["family"] == "perceptron"
    assert result["versions"]["acme-families"] == "1.0"
    assert "acme-families==1.0" in (bundle / "lock.txt").read_text()

    checks = json.loads(tuner("verify", str(bundle), "--predict", "--json").stdout)
    passed = {check["name"]: check["passed"] for check in checks["checks"]}
    assert passed == {"files": True, "figures": True, "predictions": True, "training": True}
    # nothing of the package or of tuner is left in the program, which another Python runs
    program = (bundle / "predict.py").read_text()
    assert "class Perceptron(nn.Module):" in program
    assert "import acme_families" not in program
    assert "from acme_families" not in program
    shape = json.loads((bundle / "preprocessing.json").read_text())["input_shape"]
    pixels = ",".join(["0"] * math.prod(shape))
    predicted = subprocess.run(
        [sys.executable, "-I", str(bundle / "predict.py")],
        input=f"{pixels}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert predicted.returncode == 0, predicted.stderr
    assert json.loads(predicted.stdout)["prediction"] in map(str, range(10))
