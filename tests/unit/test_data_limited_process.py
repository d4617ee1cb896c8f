"""Data of others, prepared in a process with limits: what expands ends no dashboard."""

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tuner.data import limited_process, prepare
from tuner.errors import DataError
from tuner.study_file.data import DataSpec

pytestmark = pytest.mark.slow

LIMITS = limited_process.Limits(memory=2 << 30, file=1 << 30, seconds=3_600, wall=3_600.0)


def table(path: Path, rows: int = 60) -> DataSpec:
    path.write_text("text,label\n" + "".join(f"word{i} b,{'ab'[i % 2]}\n" for i in range(rows)))
    return DataSpec.model_validate({"source": "text", "path": path})


def test_data_is_the_same_as_prepared_here(tmp_path: Path) -> None:
    spec = table(tmp_path / "table.csv")
    entry = limited_process.prepare_apart(spec, tmp_path / "cache", LIMITS)
    here = prepare(spec, tmp_path / "other")
    assert entry.folder.parent == tmp_path / "cache"
    assert (entry.fingerprint, entry.sizes) == (here.fingerprint, here.sizes)


def test_what_is_wrong_is_told_in_the_same_words(tmp_path: Path) -> None:
    spec = table(tmp_path / "table.csv", rows=1)
    with pytest.raises(DataError) as here:
        prepare(spec, tmp_path / "cache")
    with pytest.raises(DataError) as there:
        limited_process.prepare_apart(spec, tmp_path / "cache", LIMITS)
    assert str(there.value) == str(here.value)


def test_an_array_that_fills_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, shape in (("x", (1 << 20, 64, 64)), ("y", (1 << 20,))):
            with archive.open(f"{name}.npy", "w") as file:
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                file.write(bytes(1 << 20))
    spec = DataSpec.model_validate({"source": "npz", "path": path})
    with pytest.raises(DataError, match=r"bomb\.npz: takes more than 2 GiB of memory to prepare"):
        limited_process.prepare_apart(spec, tmp_path / "cache", LIMITS)


def test_an_array_that_fills_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    x = np.zeros((4_000, 28, 28), np.uint8)
    x[:, 0, 0], x[:, 0, 1] = np.arange(4_000) % 250, np.arange(4_000) // 250
    np.savez_compressed(path, x=x, y=np.arange(4_000) % 2)
    assert path.stat().st_size < 100_000
    spec = DataSpec.model_validate({"source": "npz", "path": path})
    with pytest.raises(DataError, match=r"takes more than 1 MiB on disk to prepare"):
        limited_process.prepare_apart(spec, tmp_path / "cache", replace(LIMITS, file=1 << 20))
    assert not [entry for entry in (tmp_path / "cache").iterdir() if entry.is_dir()]


def test_a_table_whose_rows_have_no_end(tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    column = pa.repeat("a", 3_000_000)
    pq.write_table(pa.table({"text": column, "label": column}), path)
    assert path.stat().st_size < 100_000
    spec = DataSpec.model_validate({"source": "text", "path": path})
    with pytest.raises(DataError, match=r"takes more than 1 second of CPU time to prepare"):
        limited_process.prepare_apart(spec, tmp_path / "cache", replace(LIMITS, seconds=1))
    with pytest.raises(DataError, match=r"takes more than 0\.1 seconds to prepare"):
        limited_process.prepare_apart(spec, tmp_path / "cache", replace(LIMITS, wall=0.1))
