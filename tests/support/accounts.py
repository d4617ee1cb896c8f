"""Another account of the machine, and what it may run."""

import subprocess
import sys

import pytest

NOBODY = 65534  # an account of the machine that owns nothing


def python_of_nobody() -> str:
    """A Python of this version that an ordinary user may run; root's own often lies in /root."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            subprocess.run([candidate, "-c", "import ssl"], user=NOBODY, check=True, cwd="/")
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    pytest.skip("there is no Python that an ordinary user could run")
