"""A worker on a machine of its own, made of a network namespace: cut off, and back."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.lab import Lab, taken_over
from tests.support.postgres import separate_server
from tests.support.waiting import STUCK, eventually

IP = shutil.which("ip")


def ip(*arguments: str) -> None:
    assert IP is not None
    subprocess.run([IP, *arguments], check=True, capture_output=True)


class Machine:
    """A network namespace with one cable to this machine."""

    def __init__(self) -> None:
        tag = f"{os.getpid() % 65536:x}"
        self.name = f"tuner-{tag}"
        self._here, self._there = f"tn{tag}h", f"tn{tag}t"
        network = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
        self.address = f"{network}.1"  # of this machine, as it sees it
        ip("netns", "add", self.name)
        ip("link", "add", self._here, "type", "veth", "peer", self._there, "netns", self.name)
        ip("addr", "add", f"{self.address}/30", "dev", self._here)
        ip("-n", self.name, "addr", "add", f"{network}.2/30", "dev", self._there)
        ip("link", "set", self._here, "up")
        self.plug(True)

    def plug(self, plugged: bool) -> None:
        """Whether its end of the cable is plugged in."""
        ip("-n", self.name, "link", "set", self._there, "up" if plugged else "down")

    def remove(self) -> None:
        ip("netns", "delete", self.name)  # and the cable


@contextmanager
def machine() -> Iterator[Machine]:
    try:
        created = Machine()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    try:
        yield created
    finally:
        created.remove()


@pytest.mark.skipif(IP is None, reason="iproute2 is not installed")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_worker_that_is_cut_off_loses_its_trial_and_takes_new_ones(tmp_path: Path) -> None:
    assert IP is not None
    with ExitStack() as stack:
        there = stack.enter_context(machine())
        server = stack.enter_context(separate_server(there.address))
        lab = Lab(server, "partition", tmp_path)
        stack.callback(lab.kill)
        lab.start_worker(IP, "netns", "exec", there.name)
        lab.launch("epoch")
        _, number = lab.reached("epoch")
        there.plug(False)
        here = lab.start_worker()
        eventually(lambda: taken_over(lab, "epoch", number))
        lab.go_on("epoch")  # it trains to the end, and cannot say so
        lab.check("epoch")
        there.plug(True)
        here.terminate()
        assert here.wait(STUCK) == 0
        lab.launch("idle")
        lab.check("idle")
        lab.close()
