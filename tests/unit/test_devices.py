"""Which devices there are and how executors share them, on a machine without a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.nvidia import GIB, FakeDriver, FakeGpu
from tuner.errors import BadInputError
from tuner.settings import visible_cuda_devices
from tuner.worker import devices
from tuner.worker.devices import host, machine
from tuner.worker.devices.nvml import Nvml

TWO = [FakeGpu("GPU-aaaa-1"), FakeGpu("GPU-bbbb-2", model="NVIDIA L4", total=24 * GIB)]
INSTANCES = [FakeGpu("MIG-cccc-0", "H100 MIG 1g", total=10 * GIB, busy=None), None,
             FakeGpu("MIG-cccc-2", "H100 MIG 2g", total=20 * GIB, busy=None)]  # fmt: skip
WITH_MIG = [FakeGpu("GPU-cccc-3", mig=INSTANCES), *TWO]


def names(board: list[FakeGpu], visible: str | None) -> list[str]:
    chosen = None if visible is None else tuple(filter(None, visible.split(",")))
    return [gpu.name for gpu in Nvml(FakeDriver(board)).gpus(chosen)]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["cuda:0", "cuda:1"]),
        ("1,0", ["cuda:1", "cuda:0"]),
        ("1", ["cuda:1"]),
        ("0,0", ["cuda:0"]),
        ("GPU-bbbb-2", ["cuda:1"]),
        ("GPU-b", ["cuda:1"]),  # the beginning of a UUID is enough
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0,7,1", ["cuda:0"]),  # as CUDA does: nothing after what is not there
        ("GPU-x", []),
        ("x", []),
    ],
)
def test_what_cuda_visible_devices_names(visible: str | None, expected: list[str]) -> None:
    assert names(TWO, visible) == expected


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["cuda:0.0", "cuda:0.2", "cuda:1", "cuda:2"]),
        ("0", ["cuda:0.0", "cuda:0.2"]),
        ("GPU-cccc-3,2", ["cuda:0.0", "cuda:0.2", "cuda:2"]),
        ("MIG-cccc-2", ["cuda:0.2"]),
        ("1,MIG-cccc-0", ["cuda:1", "cuda:0.0"]),
    ],
)
def test_a_gpu_in_mig_mode_is_its_instances(visible: str | None, expected: list[str]) -> None:
    assert names(WITH_MIG, visible) == expected


def test_without_a_driver_there_is_no_gpu() -> None:
    assert Nvml(FakeDriver(is_installed=False)).gpus(None) == ()
    assert Nvml(FakeDriver([])).gpus(None) == ()
    if not Path("/dev/nvidiactl").exists():
        assert Nvml().gpus(None) == ()  # the real library, which is not there


def test_a_gpu_that_fell_off_the_bus_is_left_out() -> None:
    assert names([FakeGpu("GPU-a", answers=False), FakeGpu("GPU-b")], None) == ["cuda:1"]


def test_how_a_gpu_fares() -> None:
    driver = FakeDriver([FakeGpu("GPU-a", used=20 * GIB, busy=37, heat=61, milliwatts=312_500)])
    nvml = Nvml(driver)
    reading = nvml.measure(nvml.gpus(None)[0])
    assert (reading.utilization, reading.used, reading.free) == (0.37, 20 * GIB, 60 * GIB)
    assert (reading.temperature, reading.power) == (61.0, 312.5)


def test_what_an_instance_cannot_say_is_unknown_and_what_its_board_can_is_known() -> None:
    nvml = Nvml(FakeDriver(WITH_MIG))
    reading = nvml.measure(nvml.gpus(None)[0])
    assert reading.utilization is None
    assert (reading.used, reading.temperature, reading.power) == (GIB, 40.0, 70.0)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs and eight cores."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine, "nvml", lambda: Nvml(FakeDriver(TWO)))
    monkeypatch.setattr(host, "cores", lambda: 8)


@pytest.mark.usefixtures("two_gpus")
def test_gpus_get_one_executor_each() -> None:
    slots = [s for s in devices.slots(devices.find("auto")) if not s.spare]
    assert [(s.name, s.device, s.visible, s.threads) for s in slots] == [
        ("cuda:0", "cuda:0", "GPU-aaaa-1", 4),
        ("cuda:1", "cuda:0", "GPU-bbbb-2", 4),  # it sees only its own
    ]
    three = devices.slots(devices.find("cuda"), 3)
    assert [s.name for s in three] == ["cuda:0", "cuda:1", "cuda:0"]
    assert {s.name for s in devices.slots(devices.find("cpu"))} == {"cpu"}


@pytest.mark.usefixtures("two_gpus")
def test_hidden_gpus_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", " 1 , ")
    assert visible_cuda_devices() == ("1",)
    assert [device.name for device in devices.find("auto")] == ["cuda:1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [device.kind for device in devices.find("auto")] == ["cpu"]
    with pytest.raises(BadInputError, match="no NVIDIA GPU to be used in CUDA_VISIBLE_DEVICES"):
        devices.find("cuda")


def test_slots_divide_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "cores", lambda: 8)
    cpu = devices.find("cpu")
    assert [s.threads for s in devices.slots(cpu)] == [1] * 8
    assert [s.threads for s in devices.slots(cpu, 3)] == [2] * 3
    assert [s.threads for s in devices.slots(cpu, threads=4)] == [4] * 2


def test_apples_gpu_is_told_by_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "nvml", lambda: Nvml(FakeDriver(is_installed=False)))
    monkeypatch.setattr(machine.sys, "platform", "darwin")
    monkeypatch.setattr(machine.platform, "machine", lambda: "arm64")
    (slot,) = devices.slots(devices.find("auto"))
    assert (slot.device, slot.name, slot.visible) == ("mps", "mps", None)
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    assert devices.find("auto")[0].kind == "cpu"


@pytest.mark.slow
@pytest.mark.parametrize("device", ["mps", "cuda:0"])
def test_a_torch_that_cannot_use_the_device_says_so(device: str) -> None:
    """The executor's part, in a process as it has: flushing denormals would break other tests."""
    code = f"from tuner.training.device import warm_up; print(warm_up({device!r}), warm_up('cpu'))"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    output = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert output.startswith("torch 2.")
    assert output.endswith(
        "work on the CPU (`--device cpu`, in a study file `resources: {device: cpu}`) None\n"
    )


# The machine's own limits, in files as the kernel writes them


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Our cgroup, which has no limits; it lies in one whose folder is its parent."""
    own = tmp_path / "cgroup"
    own.write_text("1:name=systemd:/x\n0::/user.slice/job\n")
    folder = tmp_path / "groups" / "user.slice" / "job"
    folder.mkdir(parents=True)
    monkeypatch.setattr(host, "CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(host, "OWN_CGROUP", own)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return folder


def test_cores_are_those_of_the_affinity(group: Path) -> None:
    assert host.cores() == 8
    (group / "cpu.max").write_text("max 100000\n")
    assert host.cores() == 8


@pytest.mark.parametrize(("quota", "cores"), [(250_000, 2), (50_000, 1), (1_600_000, 8)])
def test_a_quota_limits_the_cores(group: Path, quota: int, cores: int) -> None:
    (group / "cpu.max").write_text(f"{quota} 100000\n")
    assert host.cores() == cores


def test_the_quota_of_an_outer_group_counts_too(group: Path) -> None:
    (group / "cpu.max").write_text("400000 100000\n")
    (group.parent / "cpu.max").write_text("300000 100000\n")
    assert host.cores() == 3


def test_memory_is_what_the_group_may_have(group: Path) -> None:
    assert host.memory() == psutil.virtual_memory().total
    (group.parent / "memory.max").write_text(f"{GIB}\n")
    (group.parent / "memory.current").write_text(f"{GIB // 2}\n")
    (group.parent / "memory.stat").write_text(f"anon 1\ninactive_file {GIB // 4}\n")
    assert host.memory() == GIB
    assert host.free_memory() == GIB // 2 + GIB // 4
    (group / "memory.max").write_text("max\n")
    assert host.memory() == GIB


def test_without_cgroups_the_machine_is_the_limit(
    group: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "OWN_CGROUP", group / "none")
    assert host.cores() == 8
    assert 0 < host.free_memory() <= host.memory()
