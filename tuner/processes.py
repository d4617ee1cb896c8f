"""How tuner starts Python: with the modules of its own installation, never the working folder's.

`python -m` and `python -c` look for modules in the working folder first: a user's `queue.py` would
be run in place of the standard library's, and in a shared folder anybody's. So every process of
tuner's is started with a command from here. PYTHONPATH counts, for whoever sets it asks for it, but
after the standard library; its empty entries, which mean the working folder, do not
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
_LIBRARY = os.path.dirname(os.__file__)  # noqa: PTH120 - pathlib would be imported for it
_STANDARD = {_LIBRARY, os.path.join(_LIBRARY, "lib-dynload")}  # noqa: PTH118
_ZIP = f"python{sys.version_info.major}{sys.version_info.minor}.zip"

# the package of this installation, even where another `tuner` comes first on the path; no `-m`, for
# then what own code spawns with multiprocessing would import the module that ran
_BEGIN = (
    "import sys; sys.path.insert(0, sys.argv[1]); import tuner; del sys.path[0]; "
    "from tuner.processes import begin; begin()"
)


def command(module: str, *arguments: str, isolated: bool = False) -> list[str]:
    """The command that calls `main` of a module with these arguments in `sys.argv`.

    `isolated`: it needs the standard library and tuner alone, and is not to wait for more.
    """
    flags = ["-I", "-S"] if isolated else ["-P"]
    return [sys.executable, *flags, "-c", _BEGIN, _ROOT, module, *arguments]


def script(path: Path, *arguments: str) -> list[str]:
    """The command that runs a file of Python that imports installed modules alone."""
    return [sys.executable, "-I", str(path), *arguments]


def guarded(leash: int, program: Sequence[str], folder: Path | None = None) -> list[str]:
    """The command that runs a program under a guard, which holds this end of the leash.

    It removes `folder` when all is ended.
    """
    first = f"{leash}:{folder}" if folder is not None else str(leash)
    return [sys.executable, "-I", "-S", guard.__file__, first, *program]


def ending(returncode: int) -> str:
    """How a process ended, for people."""
    if returncode >= 0:
        return f"exited with code {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was killed by signal {-returncode}"


def begin() -> None:
    """Be the process that `command` describes."""
    _, root, name, *arguments = sys.argv
    standard = [entry for entry in sys.path if _is_standard(entry)]
    sys.path[:] = [*standard, *(entry for entry in sys.path if not _is_standard(entry))]
    if root not in sys.path:  # tuner is not installed: it runs from its sources
        sys.path.append(root)
    module = importlib.import_module(name)
    sys.argv = [str(module.__file__), *arguments]
    module.main()


def after_standard_library() -> int:
    """Where on `sys.path` modules come before installed ones and shadow no standard one."""
    places = [place for place, entry in enumerate(sys.path) if _is_standard(entry)]
    return places[-1] + 1 if places else 0


def _is_standard(entry: str) -> bool:
    return entry in _STANDARD or entry.endswith(_ZIP)
