"""The first word of a command: what is told before any trial, and what only the kernel knows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.guarding import guarded
from tests.support.waiting import STUCK
from tuner import guard
from tuner.errors import SpecError
from tuner.user_code import program


def write(path: Path, content: bytes, *, executable: bool = True) -> Path:
    path.write_bytes(content)
    path.chmod(0o755 if executable else 0o644)
    return path


def complaint(folder: Path, name: str) -> str:
    with pytest.raises(SpecError) as caught:
        program.find(folder, name)
    sentence = str(caught.value)
    assert sentence.startswith("command[0]: ")
    assert sentence.isprintable()
    return sentence.removeprefix("command[0]: ")


def test_a_program_is_in_the_folder_or_in_the_path(tmp_path: Path) -> None:
    script = write(tmp_path / "a program", b"#!/bin/sh\n")
    assert program.find(tmp_path, "./a program") == str(script)
    assert program.find(tmp_path, str(script)) == str(script)
    assert Path(program.find(tmp_path, "python")).parent == Path(sys.executable).parent
    assert program.find(tmp_path, "/bin/sh") == "/bin/sh"


@pytest.mark.parametrize(
    ("name", "content", "instead"),
    [
        ("train.sh", b"#!/bin/bash\n", "[bash, ./train.sh]"),
        ("train.sh", b"#!/usr/bin/env -S python3 -u\n", "[python3, ./train.sh]"),
        ("train.py", b"import tuner\n", "[python, ./train.py]"),
        ("train", b"\x7fELF\0", "[bash, ./train]"),
    ],
)
def test_a_script_that_is_not_executable(
    tmp_path: Path, name: str, content: bytes, instead: str
) -> None:
    script = write(tmp_path / name, content, executable=False)
    assert complaint(tmp_path, f"./{name}") == (
        f"`./{name}` is not executable: run `chmod +x {script}`, or write `{instead}`"
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "`./x` is an empty file"),
        (b"#!/bin/bash\r\necho\r\n", "asks for `/bin/bash\\r`, which does not exist: convert it"),
        (b"#!/usr/bin/env python3\r\n", "asks for `/usr/bin/env python3\\r`, which does not exist"),
        (b"#!/opt/none/python\n", "the first line of `./x` asks for `/opt/none/python`, which is"),
        (b"#!/usr/bin/env -S A=1 no-such-python -u\n", "asks for `no-such-python`, which is not h"),
        (b"#!\n", "the first line of `./x` asks for `#!`, which is not here"),
        (b"#!/usr\n", "the first line of `./x` asks for `/usr`, which is not here"),
        (b"\xef\xbb\xbf#!/bin/sh\n", "begins with a byte order mark, which hides its first line"),
        (b"echo 1\n", "as `#!/bin/bash` does: add such a line, or write `[bash, ./x]`"),
    ],
)
def test_files_that_cannot_be_started(tmp_path: Path, content: bytes, sentence: str) -> None:
    write(tmp_path / "x", content)
    assert sentence in complaint(tmp_path, "./x")


@pytest.mark.slow
def test_the_kernel_agrees_with_what_is_said(tmp_path: Path) -> None:
    """Each of these is refused by execve(2), and what is not refused here starts."""
    for content in (
        b"",
        b"#!/bin/sh\r\n",
        b"#!/opt/none/python\n",
        b"\xef\xbb\xbf#!/bin/sh\n",
        b"x",
    ):
        script = write(tmp_path / "x", content)
        with pytest.raises(OSError, match=r"No such file|Exec format"):
            subprocess.run([script], check=True)
        complaint(tmp_path, "./x")
    for content in (
        b"#!/bin/sh\ntrue\n",
        b"#! /usr/bin/env sh\n",
        b"#!/usr/bin/env -S A=1 sh -e\n",
    ):
        script = write(tmp_path / "x", content)
        subprocess.run([program.find(tmp_path, "./x")], check=True)


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    write(tmp_path / "train.sh", b"#!/bin/bash\n")
    assert complaint(tmp_path, "./folder") == "`./folder` is a folder, not a program"
    assert complaint(tmp_path, "./none") == f"there is no program `./none` in {tmp_path}"
    assert (
        complaint(tmp_path, "./train.sh/x") == f"there is no program `./train.sh/x` in {tmp_path}"
    )
    assert complaint(tmp_path, "none") == "there is no program `none` here"
    assert complaint(tmp_path, "train.sh") == (
        f"there is no program `train.sh` here; the file in {tmp_path} is run with "
        "`[bash, ./train.sh]`"
    )
    assert complaint(tmp_path, "python train.py") == (
        "there is no program `python train.py` here; each word is an item of the list: "
        "`[python, train.py]`"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "code", "sentence"),
    [
        (None, guard.NOT_FOUND, "No such file or directory (it is gone, or its interpreter"),
        (
            b"\x7fELF" + 100 * b"\0",
            guard.NOT_EXECUTABLE,
            "Exec format error (it is not a program for",
        ),
    ],
)
def test_what_only_the_kernel_knows_is_a_sentence_too(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    content: bytes | None,
    code: int,
    sentence: str,
) -> None:
    path = tmp_path / "x"
    if content is not None:
        write(path, content)
        assert program.find(tmp_path, "./x") == str(path)
    with guarded(str(path), "word") as (process, _):
        assert process.wait(STUCK) == code
    assert re.fullmatch(
        rf"{path} cannot be started: {re.escape(sentence)}.*\n", capfd.readouterr().err
    )
