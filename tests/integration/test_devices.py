"""Samples of devices: stored by workers, the latest one is shown, and old ones go."""

import json
import uuid

import pytest
from sqlalchemy import text

from tests.support.commands import tuner
from tests.support.nvidia import GIB, FakeDriver, FakeGpu
from tuner.database import devices, workers
from tuner.database.devices import DeviceRecord, DeviceSample
from tuner.database.engine import Database
from tuner.worker.devices import Slot, host, machine
from tuner.worker.devices.nvml import Nvml
from tuner.worker.devices.sampling import DeviceSampler

GPU = DeviceRecord("cuda:0", "NVIDIA H100 80GB HBM3", 80 * GIB)
CPU = DeviceRecord("cpu", "a processor", 16 * GIB)


@pytest.fixture
def worker(database: Database) -> uuid.UUID:
    worker_id = uuid.uuid4()
    with database.transaction() as connection:
        workers.register(
            connection, worker_id, host="h", pid=7, slots=1, devices=["cuda:0"], version="0"
        )
        devices.register(connection, worker_id, [CPU, GPU])
    return worker_id


def count(database: Database) -> int:
    with database.transaction() as connection:
        query = "SELECT count(*) FROM tuner.device_samples"
        return int(connection.execute(text(query)).scalar_one())


def test_the_latest_sample_of_each_device_is_shown(database: Database, worker: uuid.UUID) -> None:
    unknown = uuid.uuid4()
    with database.statement() as connection:
        assert devices.latest(connection, [worker, unknown]) == {worker: [CPU, GPU], unknown: []}
        devices.store(connection, worker, [("cuda:0", DeviceSample(0.25, GIB, 50.0, 100.0))])
        devices.store(
            connection, worker, [("cuda:0", DeviceSample(0.5, 2 * GIB)), ("cpu", DeviceSample(1.0))]
        )
        cpu, gpu = devices.latest(connection, [worker])[worker]
    assert gpu.latest is not None
    assert (gpu.latest.utilization, gpu.latest.memory_used) == (0.5, 2 * GIB)
    assert (gpu.latest.temperature, gpu.latest.power) == (None, None)
    assert cpu.latest is not None
    assert cpu.latest.utilization == 1.0
    assert count(database) == 3


def test_samples_go_after_a_day_and_with_their_worker(
    database: Database, worker: uuid.UUID
) -> None:
    with database.statement() as connection:
        devices.store(connection, worker, [("cpu", DeviceSample(0.5))])
        connection.execute(text("UPDATE tuner.device_samples SET at = at - interval '23 hours'"))
        devices.store(connection, worker, [("cpu", DeviceSample(0.6))])
        assert devices.forget(connection) == 0
        connection.execute(text("UPDATE tuner.device_samples SET at = at - interval '2 hours'"))
        assert devices.forget(connection) == 1
        assert count(database) == 1
        connection.execute(text("DELETE FROM tuner.workers"))
    assert count(database) == 0


def test_a_machines_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml(FakeDriver([FakeGpu("GPU-a", used=GIB, busy=80, heat=66, milliwatts=350_000)]))
    monkeypatch.setattr(machine, "nvml", lambda: nvml)
    monkeypatch.setattr("tuner.worker.devices.sampling.nvml", lambda: nvml)
    sampler = DeviceSampler(
        [Slot("cuda:0", 1, "GPU-a", "cuda:3"), Slot("cuda:0", 1, "GPU-a", "cuda:3")]
    )
    gpu, cpu = sampler.devices()
    assert (gpu.name, gpu.memory) == ("cuda:3", 80 * GIB)
    assert (cpu.name, cpu.memory) == ("cpu", host.memory())
    samples = dict(sampler.samples())
    assert samples["cuda:3"] == DeviceSample(0.8, GIB, 66.0, 350.0)
    assert samples["cpu"].utilization is not None
    assert 0.0 <= samples["cpu"].utilization <= 1.0
    assert 0 < (samples["cpu"].memory_used or 0) < host.memory()


def test_workers_on_the_command_line(
    database: Database, worker: uuid.UUID, environment: dict[str, str]
) -> None:
    with database.statement() as connection:
        devices.store(connection, worker, [("cuda:0", DeviceSample(0.5, 2 * GIB, 61.0, 312.5))])
    completed = tuner("workers", environment=environment)
    assert completed.returncode == 0, completed.stderr
    gpu = next(line for line in completed.stdout.splitlines() if "cuda:0" in line)
    for cell in ("NVIDIA H100 80GB HBM3", "50%", "2.0 of 80 GiB", "61", "312.5"):
        assert cell in gpu
    (record,) = json.loads(tuner("workers", "--json", environment=environment).stdout)
    assert (record["host"], record["pid"]) == ("h", 7)
    assert record["devices"][1]["latest"]["power"] == 312.5
    with database.statement() as connection:
        workers.record_stop(connection, worker)
    nobody = tuner("workers", environment=environment)
    assert (nobody.returncode, nobody.stdout) == (0, "")
    assert "no worker was seen" in nobody.stderr
