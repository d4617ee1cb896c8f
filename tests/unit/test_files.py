"""Files that appear whole or not at all, and names that stay in their folder."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tuner import files
from tuner.errors import BadInputError, DiskFullError, TunerError


@given(st.text(st.characters(exclude_categories=())))
@example("..")
@example("a/../../b")
@example("日" * 100)
@example("\ud800")
def test_any_name_is_a_file_in_its_folder(name: str) -> None:
    safe = files.safe_name(name)
    assert Path("folder", safe).parent == Path("folder")
    assert Path("folder", safe).name == safe
    assert safe.isprintable()
    assert not safe.startswith((".", "-"))
    assert 0 < len(safe.encode()) <= files.NAME_BYTES
    assert files.safe_name(safe) == safe


@given(st.text(), st.text())
@example("a/b", "a_b")
@example("a/b", "a\\b")
def test_two_names_are_two_files(name: str, other: str) -> None:
    assert (files.safe_name(name) == files.safe_name(other)) == (name == other)


@pytest.mark.parametrize("name", ["digits-cnn", "müde", "日本", "a b", "v1.2", "[x]", "a:b"])
def test_names_of_study_files_stay(name: str) -> None:
    assert files.safe_name(name) == name


def fails(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fsync(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", fsync)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFullError),
        (errno.EDQUOT, DiskFullError),
        (errno.EROFS, BadInputError),
        (errno.EIO, TunerError),
    ],
)
def test_what_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[TunerError]
) -> None:
    folder, file = tmp_path / "folder", tmp_path / "file"
    files.write(file, "old")
    with files.whole_folder(folder, replace=False) as aside:
        (aside / "a").write_text("old")
    fails(monkeypatch, number)
    with pytest.raises(kind) as caught:
        files.write(file, "new")
    assert type(caught.value) is kind
    with pytest.raises(kind), files.whole_folder(folder, replace=True) as aside:
        (aside / "a").write_text("new")
    with pytest.raises(kind), files.whole_folder(tmp_path / "other", replace=False) as aside:
        (aside / "a").write_text("new")
    assert {p.name for p in tmp_path.iterdir()} == {"folder", "file"}
    assert file.read_text() == (folder / "a").read_text() == "old"


def test_a_link_to_a_folder_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with files.whole_folder(tmp_path / "link", replace=True) as aside:
        (aside / "a").write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a").read_text() == "new"


def test_a_nul_is_in_no_name(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"a\\x00b: is not the name of a file"):
        files.write(tmp_path / "a\0b", "")


def test_names_of_full_length_are_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    files.write(path, "x")
    assert path.read_text() == "x"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_what_is_written_is_as_readable_as_the_umask_allows(tmp_path: Path, mask: int) -> None:
    file, folder = tmp_path / "below" / "file", tmp_path / "folder"
    with umask(mask):
        for _ in range(2):  # what is replaced, too
            files.write(file, "x")
            with files.whole_folder(folder, replace=True) as aside:
                (aside / "a").write_text("x")
    assert mode(file) == mode(folder / "a") == 0o666 & ~mask
    assert mode(file.parent) == mode(folder) == 0o777 & ~mask


def test_a_home_that_tuner_makes_is_its_users_alone(tmp_path: Path) -> None:
    home = tmp_path / "above" / "home"
    with umask(0o022):
        files.make_home(home)
        files.make_home(home)
    assert mode(home) & 0o066 == 0
    if os.geteuid() == 0:  # whose server runs as another user
        assert {mode(home / name) for name in files.HOME_FOLDERS} == {0o700}
    else:
        assert mode(home) == 0o700


def test_a_home_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    shared = tmp_path / "home"
    shared.mkdir()
    shared.chmod(0o2770)
    files.make_home(shared)
    assert mode(shared) == 0o2770
    assert not any(shared.iterdir())
    files.write(tmp_path / "file", "x")
    with pytest.raises(BadInputError, match="file: cannot be written"):
        files.make_home(tmp_path / "file")
