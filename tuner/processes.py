"""How tuner starts Python: with the modules of its own installation, never the working folder's.

`python -m` and `python -c` look for modules in the working folder first: a user's `queue.py` would
run instead of the standard library's, and in a shared folder anybody's. So every process of tuner
is started with a command from here. PYTHONPATH counts, since its user set it on purpose, but after
the standard library; its empty entries, which mean the working folder, do not
(`settings.python_environment`).
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence

from tuner import guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
_LIBRARY = os.path.dirname(os.__file__)  # noqa: PTH120 - avoids importing pathlib
_STANDARD = {_LIBRARY, os.path.join(_LIBRARY, "lib-dynload")}  # noqa: PTH118
_ZIP = f"python{sys.version_info.major}{sys.version_info.minor}.zip"

# the package of this installation, even if another `tuner` comes first on the path; without `-m`,
# with which processes that user code spawns by multiprocessing would import the module that ran
_BEGIN = (
    "import sys; sys.path.insert(0, sys.argv[1]); import tuner; del sys.path[0]; "
    "from tuner.processes import begin; begin()"
)


def command(module: str, *arguments: str, isolated: bool = False) -> list[str]:
    """Build the command that calls `main` of a module with these arguments in `sys.argv`.

    `isolated`: it needs only the standard library and tuner, and starts faster without the rest.
    """
    flags = ["-I", "-S"] if isolated else ["-P"]
    return [sys.executable, *flags, "-c", _BEGIN, _ROOT, module, *arguments]


def script(path: Path, *arguments: str) -> list[str]:
    """Build the command that runs a Python file that imports only installed modules."""
    return [sys.executable, "-I", str(path), *arguments]


def guarded(leash: int, program: Sequence[str], folder: Path | None = None) -> list[str]:
    """Build the command that runs a program under a guard, which holds this end of the leash.

    The guard removes `folder` once everything has ended.
    """
    first = f"{leash}:{folder}" if folder is not None else str(leash)
    return [sys.executable, "-I", "-S", guard.__file__, first, *program]


def describe_exit(returncode: int) -> str:
    """Describe how a process ended."""
    if returncode >= 0:
        return f"exited with code {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was killed by signal {-returncode}"


def begin() -> None:
    """Run as the process that `command` describes."""
    _, root, name, *arguments = sys.argv
    standard = [entry for entry in sys.path if _is_standard(entry)]
    sys.path[:] = [*standard, *(entry for entry in sys.path if not _is_standard(entry))]
    if root not in sys.path:  # tuner is not installed: it runs from its sources
        sys.path.append(root)
    module = importlib.import_module(name)
    sys.argv = [str(module.__file__), *arguments]
    module.main()


def after_standard_library() -> int:
    """The index on `sys.path` before installed modules and after standard ones."""
    indices = [index for index, entry in enumerate(sys.path) if _is_standard(entry)]
    return indices[-1] + 1 if indices else 0


def _is_standard(entry: str) -> bool:
    return entry in _STANDARD or entry.endswith(_ZIP)
