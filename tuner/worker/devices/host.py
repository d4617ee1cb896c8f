"""What this process may use of its machine: cores and memory, as scheduler and cgroup allow.

Limits of cgroups are those of version 2 (https://docs.kernel.org/admin-guide/cgroup-v2.html): a
container with `--cpus 2` sees all cores of its host, and 32 executors would share two of them.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def cores() -> int:
    """The CPU cores that this process may use, at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)  # macOS has none
    allowed = len(affinity(0)) if affinity else os.cpu_count() or 1
    quotas = [int(quota) // int(period) for quota, period in _limits("cpu.max", fields=2)]
    return max(1, min([allowed, *quotas]))


def memory() -> int:
    """Bytes of memory that this process and what it starts may use in all."""
    limits = [int(limit) for (limit,) in _limits("memory.max", fields=1)]
    return min([int(psutil.virtual_memory().total), *limits])


def free_memory() -> int:
    """Bytes of memory that can still be had."""
    free = [int(psutil.virtual_memory().available)]
    for group in _groups():
        limit, used = _read(group / "memory.max").strip(), _read(group / "memory.current").strip()
        if limit.isdigit() and used.isdigit():
            stat = dict(line.split() for line in _read(group / "memory.stat").splitlines())
            cache = int(stat.get("inactive_file", 0))  # counted as used, and given up when needed
            free.append(max(0, int(limit) - int(used) + cache))
    return min(free)


def model() -> str:
    """The processor's name, for people."""
    if sys.platform == "linux":
        for line in _read(Path("/proc/cpuinfo")).splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return os.uname().machine


def _limits(file: str, *, fields: int) -> Iterator[list[str]]:
    """The words of this file in our cgroup and those above it, where it says a limit."""
    for group in _groups():
        words = _read(group / file).split()
        if len(words) == fields and "max" not in words:
            yield words


def _groups() -> list[Path]:
    """Folders of our cgroup and of those above it, the nearest first."""
    own = [line for line in _read(OWN_CGROUP).splitlines() if line.startswith("0::")]
    if not own:
        return []
    # in a container the path may be one that only the host has
    folder = CGROUPS / own[0].removeprefix("0::").lstrip("/")
    return [group for group in (folder, *folder.parents) if group.is_relative_to(CGROUPS)]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
