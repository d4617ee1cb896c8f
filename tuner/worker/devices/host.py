"""What this process may use of its machine: cores and memory, as scheduler and cgroup allow.

Limits of cgroups are those of version 2 (https://docs.kernel.org/admin-guide/cgroup-v2.html).
Without them, a container with `--cpus 2` would see all cores of its host, and 32 executors would
share two of them.
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
    """Bytes of memory that this process and its children may use in total."""
    limits = [int(limit) for (limit,) in _limits("memory.max", fields=1)]
    return min([int(psutil.virtual_memory().total), *limits])


def free_memory() -> int:
    """Bytes of memory that are still available."""
    free = [int(psutil.virtual_memory().available)]
    for group in _groups():
        limit, used = (
            _read_text(group / "memory.max").strip(),
            _read_text(group / "memory.current").strip(),
        )
        if limit.isdigit() and used.isdigit():
            stat = dict(line.split() for line in _read_text(group / "memory.stat").splitlines())
            cache = int(stat.get("inactive_file", 0))  # counted as used, but released when needed
            free.append(max(0, int(limit) - int(used) + cache))
    return min(free)


def model() -> str:
    """The processor's name, for people."""
    if sys.platform == "linux":
        for line in _read_text(Path("/proc/cpuinfo")).splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return os.uname().machine


def _limits(file: str, *, fields: int) -> Iterator[list[str]]:
    """Yield this file's fields in our cgroup and those above it, where they set a limit."""
    for group in _groups():
        values = _read_text(group / file).split()
        if len(values) == fields and "max" not in values:
            yield values


def _groups() -> list[Path]:
    """The folders of our cgroup and of those above it, the nearest first."""
    own = [line for line in _read_text(OWN_CGROUP).splitlines() if line.startswith("0::")]
    if not own:
        return []
    # in a container the path may be one that only the host has
    folder = CGROUPS / own[0].removeprefix("0::").lstrip("/")
    return [group for group in (folder, *folder.parents) if group.is_relative_to(CGROUPS)]


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
