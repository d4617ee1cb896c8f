"""Fingerprints, and the cache: built once, whole or not there, mended when damaged."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from tests.support.waiting import STUCK, eventually
from tuner.data import PreparedData, build, entries, evict, prepare, source_files
from tuner.data.fingerprint import fingerprint, prepared_key
from tuner.data.prepared import PARTS
from tuner.errors import BadInputError, DataError, DiskFullError, TunerError
from tuner.study_file.data import DataSpec, Split

caching = sys.modules["tuner.data.prepare"]


@pytest.fixture(autouse=True)
def another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process remembers of earlier tests is forgotten."""
    forget(monkeypatch)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "_opened", OrderedDict())


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The fingerprints of what is built from here on."""
    built: list[str] = []
    real = build.build

    def counting(spec: DataSpec, folder: Path, identity: str) -> PreparedData:
        built.append(identity)
        return real(spec, folder, identity)

    monkeypatch.setattr(build, "build", counting)
    return built


def table(path: Path, *, words: str = "text", number: int = 20) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{words} {n},{'ab'[n % 2]}" for n in range(number)]
    path.write_text("text,label\n" + "\n".join(lines), encoding="utf-8")
    return path


def spec(path: Path, **changes: object) -> DataSpec:
    return DataSpec(source="text", path=path, **changes)  # type: ignore[arg-type]


def same(a: PreparedData, b: PreparedData) -> bool:
    return all(
        np.array_equal(a.part(name).inputs, b.part(name).inputs)
        and np.array_equal(a.part(name).labels, b.part(name).labels)
        for name in PARTS
    )


def test_the_fingerprint_is_of_the_content_not_of_the_path(tmp_path: Path) -> None:
    here, there = table(tmp_path / "here" / "a.csv"), table(tmp_path / "there" / "b.csv")
    os.utime(there, (1, 1))
    assert fingerprint(spec(here)) == fingerprint(spec(there))
    assert len(fingerprint(spec(here))) == 16
    assert prepared_key(spec(here)) == prepared_key(spec(there))


def test_the_fingerprint_depends_on_content_split_and_columns(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv")
    other = table(tmp_path / "b.csv", words="other")
    fingerprints = [
        fingerprint(spec(path)),
        fingerprint(spec(other)),
        fingerprint(spec(path, split=Split(seed=1))),
        fingerprint(spec(path, split=Split(validation=0.2))),
        fingerprint(spec(path, text="body")),
        fingerprint(spec(path, test_path=other)),
        fingerprint(spec(path, validation_path=other)),
        fingerprint(DataSpec(source="digits")),
    ]
    assert len(set(fingerprints)) == len(fingerprints)


def test_how_it_is_prepared_changes_the_entry_but_not_the_fingerprint(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv")
    variants = [
        {},
        {"lowercase": False},
        {"vocabulary": 11},
        {"min_count": 2},
        {"max_length": 7},
    ]
    assert len({prepared_key(spec(path, **changes)) for changes in variants}) == len(variants)
    assert len({fingerprint(spec(path, **changes)) for changes in variants}) == 1


def test_vectors_change_the_fingerprint_with_their_content_alone(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv")
    contents = ("text 1 2\n", "text 1 3\n", "text 1 2\n")
    fingerprints = [fingerprint(spec(path))]
    for name, content in zip("abc", contents, strict=True):
        vectors = tmp_path / f"{name}.txt"
        vectors.write_text(content)
        fingerprints.append(fingerprint(spec(path, vectors=vectors)))
    assert fingerprints[1] == fingerprints[3]
    assert len(set(fingerprints)) == 3


def test_a_folder_of_images_is_known_by_names_and_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_files, "RACY", -3600.0)  # seconds; as if the files were an hour old

    def known(folder: Path) -> str:
        return fingerprint(DataSpec(source="images", path=folder))

    for name in ("one", "two"):
        for file in ("a/1.png", "a/2.png", "b/1.png"):
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text(file)
    first = known(tmp_path / "one")
    assert known(tmp_path / "two") == first
    (tmp_path / "two" / "b" / "1.png").write_text("other")
    changed = known(tmp_path / "two")
    (tmp_path / "two" / "b" / "1.png").rename(tmp_path / "two" / "b" / "3.png")
    renamed = known(tmp_path / "two")
    assert len({first, changed, renamed}) == 3
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "a").symlink_to(tmp_path / "one" / "a")
    (tmp_path / "link" / "b").symlink_to(tmp_path / "one" / "b")
    assert known(tmp_path / "link") == first
    (tmp_path / "one" / "a" / "1.png").write_text("other")
    assert known(tmp_path / "link") != first


def test_an_entry_is_built_once(tmp_path: Path, builds: list[str]) -> None:
    path = table(tmp_path / "a.csv")
    first = prepare(spec(path), tmp_path / "cache")
    assert prepare(spec(path), tmp_path / "cache") is first
    moved = table(tmp_path / "elsewhere" / "moved.csv")
    assert prepare(spec(moved), tmp_path / "cache") == first
    assert first.folder == tmp_path / "cache" / prepared_key(spec(path))
    assert builds == [first.fingerprint]


def test_another_process_opens_what_this_one_built(
    tmp_path: Path, builds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = table(tmp_path / "a.csv")
    notes.write_text(notes.read_text().replace("text ", "a text ") + "\n ,a\n")
    first = prepare(spec(notes), tmp_path / "cache")
    forget(monkeypatch)
    again = prepare(spec(notes), tmp_path / "cache")
    assert again == first
    assert again is not first
    assert again.notes == ("1 row with a blank text was left out",)
    digits = prepare(DataSpec(source="digits"), tmp_path / "cache")
    forget(monkeypatch)
    assert prepare(DataSpec(source="digits"), tmp_path / "cache") == digits  # floats, to the bit
    assert len(builds) == 2


def test_another_cache_has_the_same_arrays(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv")
    assert same(prepare(spec(path), tmp_path / "one"), prepare(spec(path), tmp_path / "two"))


def test_new_content_is_noticed(tmp_path: Path, builds: list[str]) -> None:
    path = table(tmp_path / "a.csv")
    first = prepare(spec(path), tmp_path / "cache")
    table(path, words="tent")  # the same size, and perhaps the same time
    second = prepare(spec(path), tmp_path / "cache")
    assert first.fingerprint != second.fingerprint
    assert "tent" in second.vocabulary
    assert len(builds) == 2


def remove_file(entry: Path) -> None:
    (entry / "test.labels.npy").unlink()


def cut(entry: Path) -> None:
    os.truncate(entry / "train.inputs.npy", 100)


def flip(entry: Path) -> None:
    path = entry / "train.inputs.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def remove_meta(entry: Path) -> None:
    (entry / "meta.json").unlink()


def empty_meta(entry: Path) -> None:
    (entry / "meta.json").write_bytes(b"")


def edit_meta(entry: Path) -> None:
    path = entry / "meta.json"
    path.write_text(path.read_text().replace('"text"', '"tent"'))


def other_meta(entry: Path) -> None:
    (entry / "meta.json").write_text(json.dumps([1]))


def remove_entry(entry: Path) -> None:
    shutil.rmtree(entry)


def replace_by_a_file(entry: Path) -> None:
    shutil.rmtree(entry)
    entry.write_text("?")


DAMAGES = [
    remove_file,
    cut,
    flip,
    remove_meta,
    empty_meta,
    edit_meta,
    other_meta,
    remove_entry,
    replace_by_a_file,
]


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_entry_is_built_again(
    tmp_path: Path, builds: list[str], monkeypatch: pytest.MonkeyPatch, damage, in_memory: bool
) -> None:
    path = table(tmp_path / "a.csv")
    first = prepare(spec(path), tmp_path / "cache")
    expected = np.array(first.part("train").inputs)
    damage(first.folder)
    if not in_memory:
        forget(monkeypatch)
    second = prepare(spec(path), tmp_path / "cache")
    assert second == first
    assert np.array_equal(second.part("train").inputs, expected)
    assert len(builds) == 2


def test_large_files_are_checked_by_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caching, "BLOCK", 10)  # bytes
    monkeypatch.setattr(caching, "BLOCKS", 5)
    path = tmp_path / "a"
    path.write_bytes(bytes(997))
    first = caching._checksum(path)
    for content in (bytes(996), bytes(996) + b"\1", b"\1" + bytes(996)):
        path.write_bytes(content)
        assert caching._checksum(path) != first


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv")
    leftover = tmp_path / "cache" / f".{prepared_key(spec(path))}.abc123"
    leftover.mkdir(parents=True)
    (leftover / "train.inputs.npy").write_bytes(b"?")
    entry = prepare(spec(path), tmp_path / "cache")
    names = sorted(p.name for p in (tmp_path / "cache").iterdir())
    name = entry.folder.name
    assert names == [f".{name}.lock", f".{name}.used", name]


PREPARE = """
import os, signal, sys
from pathlib import Path
from tuner.data import build, prepare
from tuner.study_file.data import DataSpec

real = build.build
def counting(*arguments):
    with open(sys.argv[3], "a") as file:
        file.write(f"{os.getpid()}\\n")
    with open(sys.argv[3]) as file:
        first = len(file.readlines()) == 1
    if first and sys.argv[4] == "hang":
        signal.pause()
    return real(*arguments)
build.build = counting
print("ready", flush=True)
entry = prepare(DataSpec(source="text", path=Path(sys.argv[1])), Path(sys.argv[2]))
print(entry.fingerprint, sum(int(entry.part(n).inputs.sum()) for n in entry.sizes), flush=True)
"""


def processes(tmp_path: Path, number: int, then: str = "build") -> list[subprocess.Popen[str]]:
    """Processes that prepare `a.csv`, each past its imports; the first builder may hang."""
    arguments = [*(str(tmp_path / name) for name in ("a.csv", "cache", "builds")), then]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PREPARE, *arguments], stdout=subprocess.PIPE, text=True
        )
        for _ in range(number)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    return started


@pytest.mark.slow
def test_many_processes_build_once(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", number=2000)
    (tmp_path / "cache").mkdir()
    lock = tmp_path / "cache" / f".{prepared_key(spec(path))}.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        started = processes(tmp_path, 5)
        assert not (tmp_path / "builds").exists()  # all wait
    results = {process.communicate(timeout=STUCK)[0] for process in started}
    assert [process.returncode for process in started] == [0] * 5
    assert len(results) == 1
    assert len((tmp_path / "builds").read_text().splitlines()) == 1


@pytest.mark.slow
def test_a_killed_builder_is_succeeded(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv")
    started = processes(tmp_path, 3, "hang")
    builds = tmp_path / "builds"
    eventually(lambda: builds.exists() and builds.read_text().endswith("\n"))
    os.kill(int(builds.read_text()), signal.SIGKILL)
    results = sorted(process.communicate(timeout=STUCK)[0] for process in started)
    assert sorted(process.returncode for process in started) == [-signal.SIGKILL, 0, 0]
    assert results[0] == ""
    assert results[1] == results[2]
    entry = prepare(spec(path), tmp_path / "cache")
    names = sorted(p.name for p in (tmp_path / "cache").iterdir())
    name = entry.folder.name
    assert names == [f".{name}.lock", f".{name}.used", name]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(tmp_path / "a.csv")

    def full(*arguments: object) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(build, "_encode", full)
        with pytest.raises(DiskFullError, match="no space left on the device"):
            prepare(spec(path), tmp_path / "cache")
    assert {p.suffix for p in (tmp_path / "cache").iterdir()} == {".lock", ".used"}
    assert prepare(spec(path), tmp_path / "cache").classes == ("a", "b")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_arrays_are_written_so_that_a_full_disk_is_noticed() -> None:
    with pytest.raises(OSError) as caught:  # noqa: SIM117
        with build.array_file(Path("/dev/full"), "<i4", (9,)) as file:
            file.write(bytes(36))
    assert caught.value.errno == errno.ENOSPC


def test_a_cache_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("?")
    with pytest.raises(BadInputError, match="cache: cannot be written"):
        prepare(spec(table(tmp_path / "a.csv")), tmp_path / "cache")


def test_another_failure_of_the_disk_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(build, "_encode", broken)
    with pytest.raises(TunerError, match=r"cannot be written \(Input/output error\)"):
        prepare(spec(table(tmp_path / "a.csv")), tmp_path / "cache")


def test_data_that_changes_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(tmp_path / "a.csv")
    real = build.build

    def changing(spec: DataSpec, folder: Path, identity: str) -> PreparedData:
        entry = real(spec, folder, identity)
        table(path, words="changed")
        return entry

    with monkeypatch.context() as patched:
        patched.setattr(build, "build", changing)
        with pytest.raises(DataError, match="has changed while it was read"):
            prepare(spec(path), tmp_path / "cache")
    assert "changed" in prepare(spec(path), tmp_path / "cache").vocabulary


def test_a_warm_call_reads_nothing(
    tmp_path: Path, builds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(tmp_path / "a.csv")
    os.utime(path, (1, 1))
    monkeypatch.setattr(source_files, "RACY", -3600.0)  # seconds; as if the file were an hour old
    first = prepare(spec(path), tmp_path / "cache")
    prepare(spec(path), tmp_path / "cache")

    def opened(*arguments: object) -> None:
        raise AssertionError("a file was read")

    monkeypatch.setattr(source_files, "open_file", opened)
    monkeypatch.setattr(caching, "_checksum", opened)
    assert prepare(spec(path), tmp_path / "cache") is first


def test_a_warm_call_notices_that_the_file_is_gone(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv")
    prepare(spec(path), tmp_path / "cache")
    path.unlink()
    with pytest.raises(DataError, match="there is no such file"):
        prepare(spec(path), tmp_path / "cache")


@pytest.mark.slow
def test_neither_importing_nor_opening_an_entry_imports_numpy(tmp_path: Path) -> None:
    """The command line asks for sizes and fingerprints before it does anything else."""
    path = table(tmp_path / "a.csv")
    prepare(spec(path), tmp_path / "cache")
    code = (
        "import sys; from pathlib import Path; from tuner.data import prepare; "
        "from tuner.study_file.data import DataSpec; "
        f"prepare(DataSpec(source='text', path=Path({str(path)!r})), Path(sys.argv[1])); "
        "print(sorted({'numpy', 'pyarrow', 'PIL', 'torch', 'gensim'} & {*sys.modules}))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "cache")],
        capture_output=True,
        text=True,
        check=True,
        timeout=STUCK,
    )
    assert process.stdout.strip() == "[]"


HOLDER = """
import sys
from pathlib import Path
from tuner.data import prepare
from tuner.study_file.data import DataSpec

data = prepare(DataSpec(source="text", path=Path(sys.argv[1])), Path(sys.argv[2]))
print(data.folder.name, flush=True)
sys.stdin.readline()
print(len(data.part("train").inputs), flush=True)
"""


@pytest.mark.slow
def test_of_a_cache_that_is_too_large_the_latest_used_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    files = [table(tmp_path / f"{name}.csv", words=name) for name in ("old", "used", "new")]
    names = []
    for file in files:
        process = subprocess.run(
            [sys.executable, "-c", HOLDER, str(file), str(cache)],
            input="\n", capture_output=True, text=True, check=True,
        )  # fmt: skip
        names.append(process.stdout.split()[0])
    old, used, new = names
    for place, name in enumerate((used, old, new)):  # in this order they were made, but …
        os.utime(cache / f".{name}.used", (1_000 + place, 1_000 + place))
        os.utime(cache / name / "meta.json", (1, 1))
    os.utime(cache / f".{old}.used", (1, 1))
    sizes = {entry.path.name: entry.size for entry in entries(cache)}
    assert [entry.path.name for entry in entries(cache)] == [old, used, new]
    assert evict(cache, sum(sizes.values())) == []
    assert evict(cache, sizes[used] + sizes[new]) == [cache / old]
    assert prepare(spec(files[2]), cache).folder.name == new  # this process holds it from now on
    assert evict(cache, 0) == [cache / used]
    assert {path.name for path in cache.iterdir() if path.is_dir()} == {new}
    forget(monkeypatch)
    assert prepare(spec(files[0]), cache).folder.name == old  # made anew


@pytest.mark.slow
def test_what_another_process_uses_is_not_removed(tmp_path: Path) -> None:
    cache, file = tmp_path / "cache", table(tmp_path / "a.csv")
    command = [sys.executable, "-c", HOLDER, str(file), str(cache)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as holder:  # type: ignore[call-overload]
        name = holder.stdout.readline().strip()
        assert evict(cache, 0) == []
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert int(holder.stdout.readline()) > 0
    assert evict(cache, 0) == [cache / name]


@pytest.mark.slow
def test_uses_are_counted_with_what_they_save(tmp_path: Path) -> None:
    cache, file = tmp_path / "cache", table(tmp_path / "a.csv")
    for _ in range(3):
        command = [sys.executable, "-c", HOLDER, str(file), str(cache)]
        subprocess.run(command, input="\n", text=True, check=True, capture_output=True)
    (entry,) = entries(cache)
    assert entry.uses == 2
    assert entry.fingerprint == fingerprint(spec(file))
    assert entry.saved == 2 * entry.seconds > 0


def test_a_process_keeps_the_latest_entries_open_and_what_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dashboard prepares the data of one study after the other for months."""
    monkeypatch.setattr(caching, "KEPT_OPEN", 2)
    cache = tmp_path / "cache"
    used = prepare(spec(table(tmp_path / "used.csv", words="used")), cache)
    before = len(os.listdir("/proc/self/fd"))
    keys = [
        prepare(spec(table(tmp_path / f"{n}.csv", words=f"text {n}")), cache).folder.name
        for n in range(6)
    ]
    assert len(os.listdir("/proc/self/fd")) == before + 2
    assert {path.name for path in evict(cache, 0)} == set(keys[:4])
    assert len(used.texts("train")) == used.sizes["train"]
