"""The program of a command: where it is, and why it cannot be started.

The kernel's messages mislead: "No such file or directory" if a script's interpreter is missing,
"Exec format error" if it names none. What the file itself shows is reported here, before any trial.
"""

import os
import shlex
import shutil
from pathlib import Path, PurePath

from tuner.errors import Issue, SpecError
from tuner.settings import command_environment
from tuner.study_file.messages import quoted

FIRST_LINE = 256  # bytes of the first line that the kernel reads
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_INTERPRETERS = {".py": "python", ".sh": "bash", ".R": "Rscript", ".jl": "julia", ".pl": "perl"}


def find(folder: Path, name: str) -> str:
    """Find the program that a command's first word names.

    Args:
        folder: Where the command runs; a name with a slash is a path in it.
        name: The word; without a slash it is looked up in PATH.

    Returns:
        Its path.

    Raises:
        SpecError: It is not there or cannot be started; the sentence says what helps.

    """
    search_path = command_environment()["PATH"]
    path = str(folder / name) if "/" in name else shutil.which(name, path=search_path)
    mistake = (
        _missing(folder, name)
        if path is None
        else _not_executable(folder, Path(path), name)
        or _not_loadable(folder, Path(path), name, search_path)
    )
    if path is None or mistake is not None:
        raise SpecError(issues=[Issue(("command", 0), str(mistake))])
    return path


def _missing(folder: Path, name: str) -> str:
    sentence = f"there is no program {quoted(name)} {f'in {folder}' if '/' in name else 'here'}"
    if len(words := name.split()) > 1:
        return f"{sentence}; each word is an item of the list: `[{', '.join(words)}]`"
    if "/" not in name and (folder / name).is_file():
        return f"{sentence}; the file in {folder} is run with {_run_by(folder / name, f'./{name}')}"
    return sentence


def _not_executable(folder: Path, path: Path, name: str) -> str | None:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return _missing(folder, name)
    except OSError as error:
        return f"{quoted(name)} cannot be reached ({error.strerror})"
    if path.is_dir():
        return f"{quoted(name)} is a folder, not a program"
    if not mode & 0o111:
        return (
            f"{quoted(name)} is not executable: run `chmod +x {shlex.quote(str(path))}`, or write "
            f"{_run_by(path, name)}"
        )
    if not os.access(path, os.X_OK):
        return f"{quoted(name)} may not be executed by this user, or from this file system (noexec)"
    return None


def _not_loadable(folder: Path, path: Path, name: str, search_path: str) -> str | None:
    """Check the beginning of the file; the formats of binaries are left to the kernel."""
    try:
        with path.open("rb") as file:
            head = file.read(FIRST_LINE)
    except OSError:  # executable, but not readable
        return None
    if not head:
        return f"{quoted(name)} is an empty file"
    if head.startswith(_BYTE_ORDER_MARK):
        return (
            f"{quoted(name)} begins with a byte order mark, which hides its first line: save it as "
            "UTF-8 without one"
        )
    if not head.startswith(b"#!"):
        if b"\0" in head:
            return None
        return (
            f"the first line of {quoted(name)} does not say what runs it, as `#!/bin/bash` does: "
            f"add such a line, or write {_run_by(path, name)}"
        )
    line = head.partition(b"\n")[0][2:].decode("utf-8", "replace")
    if line.endswith("\r"):
        return (
            f"the lines of {quoted(name)} end in CRLF, as on Windows, so its first line asks for "
            f"{quoted(line.lstrip())}, which does not exist: convert it with "
            rf"`sed -i 's/\r$//' {shlex.quote(str(path))}`"
        )
    missing = _missing_interpreter(folder, line.split(), search_path)
    if missing is None:
        return None
    return f"the first line of {quoted(name)} asks for {quoted(missing)}, which is not here"


def _missing_interpreter(folder: Path, words: list[str], search_path: str) -> str | None:
    if not words:
        return "#!"
    if not os.access(folder / words[0], os.X_OK) or (folder / words[0]).is_dir():
        return words[0]
    if PurePath(words[0]).name != "env":
        return None
    named = [word for word in words[1:] if word != "-S" and "=" not in word]
    if not named or named[0].startswith("-"):  # an option of env's, which may take a word
        return None
    return None if shutil.which(named[0], path=search_path) else named[0]


def _run_by(path: Path, name: str) -> str:
    """The words that run a script that is not executable."""
    try:
        with path.open("rb") as file:
            line = file.readline(FIRST_LINE).decode("utf-8", "replace").strip()
    except OSError:
        line = ""
    words = line.removeprefix("#!").split() if line.startswith("#!") else []
    words = [PurePath(word).name for word in words if not word.startswith("-")]
    named = words[1:2] if words[:1] == ["env"] else words[:1]
    interpreter = named[0] if named else _INTERPRETERS.get(path.suffix, "bash")
    return f"`[{interpreter}, {name}]`"
