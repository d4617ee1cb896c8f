"""The files of user code: found without running any of them, and fingerprinted.

The fingerprint covers the module of a function with all modules of its package, and the files that
a command's words name. It does not cover what these import from elsewhere, nor installed packages.
"""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

from tuner.errors import Issue, SpecError, TunerError
from tuner.study_file.code import Code
from tuner.study_file.messages import instead, quoted
from tuner.user_code import program

MAX_FILE = 10 * 2**20  # bytes; of larger files, arguments that are data, only the size counts
MAX_FILES = 2_000  # modules of a package


def fingerprint(code: Code) -> str:
    """Fingerprint the code as it is now; SpecError if it is missing or cannot be run."""
    files = _function_files(code) if code.function is not None else _command_files(code)
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.relative_to(code.folder)}\0{size}\0".encode())
        if size <= MAX_FILE:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def check(code: Code) -> None:
    """TunerError if the code is not on this machine, or has changed since the launch."""
    try:
        current = fingerprint(code)
    except SpecError as error:
        raise TunerError(f"the study's code cannot be run here: {error}") from None
    if current != code.fingerprint:
        raise TunerError(
            f"the code in {code.folder} has changed since the study was launched (fingerprint "
            f"{current}, at launch {code.fingerprint}): `tuner run` with its file accepts it as "
            "long as no trial has a result; else restore it, or launch it under another name"
        )


def module(code: Code) -> Path:
    """Find the file that defines the function; SpecError if there is none."""
    name = str(code.function).partition(":")[0]
    path = find_module(code.folder, name)
    if path is None:
        raise _wrong("function", f"there is no module {quoted(name)} in {code.folder}")
    return path


def _function_files(code: Code) -> list[Path]:
    """Find the module of a function and the other modules of its package."""
    name, _, function = str(code.function).partition(":")
    path = module(code)
    _check_defined(path, name, function)
    return list(_package_modules(code.folder, name, path))


def find_module(folder: Path, name: str) -> Path | None:
    """Find the file of a module in a folder; None if there is none."""
    base = folder.joinpath(*name.split("."))
    candidates = (base / "__init__.py", base.with_name(f"{base.name}.py"))  # as Python prefers
    return next((path for path in candidates if path.is_file()), None)


def _package_modules(folder: Path, name: str, module: Path) -> Iterator[Path]:
    package = folder / name.split(".", maxsplit=1)[0]
    if not package.is_dir() or package.with_name(f"{package.name}.py") == module:
        yield module
        return
    for count, path in enumerate(sorted(package.rglob("*.py"))):
        if count >= MAX_FILES:
            raise _wrong("function", f"{package} holds more than {MAX_FILES} Python files")
        yield path


def _check_defined(module: Path, name: str, function: str) -> None:
    """SpecError unless the module's source defines the name."""
    try:
        tree = ast.parse(module.read_bytes(), filename=str(module))
    except (SyntaxError, ValueError) as error:  # ValueError: a NUL
        where = f"{module}:{getattr(error, 'lineno', None) or 1}"
        raise _wrong("function", f"{where}: {getattr(error, 'msg', error)}") from None
    except OSError as error:
        raise _wrong("function", f"{module}: cannot be read ({error.strerror})") from None
    names = set(_defined_names(tree))
    if "*" not in names and function not in names:
        end = instead(function, sorted(names), of="it defines")
        raise _wrong("function", f"{quoted(name)} defines no {quoted(function)}{end}")


def defined_names(module: Path) -> Iterator[str]:
    """Yield the names that a module's source defines; `*` stands for a star import."""
    try:
        tree = ast.parse(module.read_bytes(), filename=str(module))
    except (OSError, SyntaxError, ValueError):  # importing it will tell
        yield "*"
        return
    yield from _defined_names(tree)


def _defined_names(tree: ast.AST) -> Iterator[str]:
    """The names that a module defines at its top level; `*` stands for a star import."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.ImportFrom | ast.Import):
            yield from ((alias.asname or alias.name).split(".")[0] for alias in node.names)
        yield from _defined_names(node)


def _command_files(code: Code) -> list[Path]:
    """Find the files that a command's words name, including `-m module`."""
    words = code.command or ()
    if "{" not in words[0]:  # else a parameter names the program
        program.find(code.folder, words[0])
    files: set[Path] = set()
    for previous, word in zip(("", *words), words, strict=False):
        path = code.folder / word
        module = find_module(code.folder, word) if previous == "-m" else None
        if module is not None:
            _check_imports(module, code.folder)
            files.update(_package_modules(code.folder, word, module))
        elif word and path.is_file() and path.is_relative_to(code.folder):
            _check_imports(path, path.parent)
            files.add(path)
    return sorted(files)


def _check_imports(path: Path, folder: Path) -> None:
    """SpecError if a Python file would import another `tuner` from its folder."""
    candidates = (folder / "tuner" / "__init__.py", folder / "tuner.py")
    other = next(filter(Path.is_file, candidates), None)
    if path.suffix != ".py" or other in (None, Path(__file__).parents[1] / "__init__.py"):
        return
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # it may be for another version of Python
        return
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        if any(name.partition(".")[0] == "tuner" for name in names):
            sentence = f"{path} would import {other} as `tuner`; give that another name"
            raise _wrong("command", sentence)


def _wrong(field: str, sentence: str, *at: int) -> SpecError:
    return SpecError(issues=[Issue((field, *at), sentence)])
