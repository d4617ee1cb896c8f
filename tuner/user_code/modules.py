"""Import the modules of user code into the process that runs their function.

They import each other like the modules of a program in their folder. But tuner runs in this process
as well, so the folder comes after the standard library and before installed packages. The
function's own module is loaded from its file whatever its name is, even `random.py` or `tuner.py`.
"""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from tuner import processes
from tuner.settings import current_environment, restore_environment
from tuner.study_file.code import Code
from tuner.user_code import source

_imported: Code | None = None  # the code whose modules this process has imported
_others = frozenset(sys.modules)  # tuner's own, which stay even if its sources are in the folder
_environment = current_environment()  # before any user code ran


@contextlib.contextmanager
def in_folder(code: Code) -> Iterator[None]:
    """Work in the code's folder, import from it, and make its module the only argument."""
    module, arguments = source.module(code), sys.argv
    writes_bytecode = not sys.dont_write_bytecode
    before = os.open(".", getattr(os, "O_PATH", os.O_RDONLY))
    sys.path.insert(processes.after_standard_library(), str(code.folder))
    try:
        os.chdir(code.folder)
        sys.argv = [str(module)]
        # Python takes bytecode for current by the second and the size of its source: a file that is
        # corrected at once would run as it was
        sys.dont_write_bytecode = True
        yield
    finally:
        sys.dont_write_bytecode = not writes_bytecode
        sys.argv = arguments
        with contextlib.suppress(ValueError):  # the code may have replaced the path
            sys.path.remove(str(code.folder))
        os.fchdir(before)  # by descriptor: it may have been removed or renamed meanwhile
        os.close(before)


def load(code: Code) -> Any:
    """Import the code's function; TunerError if its files have changed since the launch."""
    global _imported  # noqa: PLW0603 - modules belong to the process
    name, _, attribute = str(code.function).partition(":")
    if _imported != code:
        source.check(code)
        forget(code.folder)
        _imported = code
    top, dot, rest = name.partition(".")
    if not _leads_to(code.folder, top):
        top = _load_as(f"_own_{top}", code.folder, top)
    return getattr(importlib.import_module(top + dot + rest), attribute)


def forget(*folders: Path) -> None:
    """Drop the modules of these folders and of the current code, and restore the environment."""
    global _imported  # noqa: PLW0603
    if _imported is not None:
        folders = (*folders, _imported.folder)
        restore_environment(_environment)
        _imported = None
    for name in _imported_from(folders):
        del sys.modules[name]
    importlib.invalidate_caches()


def uncover_installed() -> None:
    """Drop user modules if one of them shadows an installed one."""
    if _imported is not None:
        tops = {name.partition(".")[0] for name in _imported_from([_imported.folder])}
        if any(PathFinder.find_spec(top) is not None for top in tops):
            forget()


def _imported_from(folders: Iterable[Path]) -> list[str]:
    """The names of user modules whose files are in these folders."""
    files = {name: getattr(module, "__file__", None) for name, module in [*sys.modules.items()]}
    return [
        name
        for name, file in files.items()
        if file is not None
        and name not in _others
        and "site-packages" not in file
        and any(Path(file).is_relative_to(folder) for folder in folders)
    ]


def _leads_to(folder: Path, top: str) -> bool:
    """Whether importing this name gives the folder's module, not one of the same name elsewhere."""
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):  # ValueError: a module without a spec, such as `__main__`
        return False
    if spec is None:
        return False
    places = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or ())
    candidates = {folder / top, folder / top / "__init__.py", folder / f"{top}.py"}
    return any(place is not None and Path(place) in candidates for place in places)


def _load_as(alias: str, folder: Path, top: str) -> str:
    """Load the folder's module or package under another name, as its own is taken; returns it."""
    if alias in sys.modules:
        return alias
    package, module = folder / top, folder / f"{top}.py"
    if (package / "__init__.py").is_file():
        spec = spec_from_file_location(alias, package / "__init__.py")
    elif module.is_file():
        spec = spec_from_file_location(alias, module)
    else:  # a folder of modules
        spec = ModuleSpec(alias, None, is_package=True)
        spec.submodule_search_locations = [str(package)]
    assert spec is not None
    sys.modules[alias] = loaded = module_from_spec(spec)
    try:
        if spec.loader is not None:
            spec.loader.exec_module(loaded)
    except BaseException:
        del sys.modules[alias]
        raise
    return alias
