"""PostgreSQL's data folder and its `postgres` process; used only by the supervisor.

Whether an earlier server is really gone, the kernel knows: every process of a server, its backends
too, inherits a lock on `cluster.lock`. A pid file proves nothing: its number may belong to another
program by now, and backends outlive a postmaster that was killed.
"""

import ctypes
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

from tuner.database.embedded import places, programs
from tuner.database.embedded.places import Places
from tuner.errors import DiskFullError, EmbeddedServerError, TunerError

ROLE = DATABASE = "tuner"
GRACE = 2.0  # seconds in which the processes of a crashed server may end by themselves
GONE_TIMEOUT = 20.0  # seconds after which we give up waiting for them

# Written into postgresql.conf once, so that users can change them there. Nothing here weakens
# durability: fsync, synchronous_commit and full_page_writes stay on.
SETTINGS = {
    "shared_buffers": "64MB",
    "max_connections": "100",
    "max_wal_size": "512MB",
    "wal_level": "minimal",  # nobody replicates a server that has no network
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "io_method": "sync",  # saves three processes
    "max_parallel_workers_per_gather": "0",  # a container's /dev/shm is too small for them
    "jit": "off",  # our queries are short
    "search_path": "public",  # not the schema named as the role, which is tuner's own
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
HBA = "local all all scram-sha-256\n"

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_LEVELS = re.compile(r"(?:FATAL|PANIC|ERROR|error): +(?P<message>.+)")
_NO_SPACE = ("No space left on device", "Disk quota exceeded")


class Cluster:
    """One data folder and the programs that serve it."""

    def __init__(self, at: Places, folder: Path) -> None:
        self.places = at
        self._user = places.server_user(at.base)
        self._programs = programs.make_reachable(folder, self._user)

    def start(self, log: IO[bytes]) -> "subprocess.Popen[bytes]":
        """Start `postgres`, once no process of an earlier one is left; makes its data if needed.

        It ends with the process that calls this, even if that is killed.
        """
        lock = self._take_over()
        try:
            self._prepare(lock)
            return subprocess.Popen(
                [
                    *(self._programs / "postgres", "-D", self.places.data),
                    *("-c", f"hba_file={self.places.base / 'hba.conf'}"),
                    *("-c", "listen_addresses="),
                    *("-c", f"port={places.PORT}"),
                    *("-c", f"unix_socket_directories={_quoted(self.places.sockets)}"),
                    *("-c", "unix_socket_permissions=0700"),
                    *("-c", "logging_collector=off"),
                    *("-c", "log_destination=stderr"),
                    *("-c", "log_line_prefix=%m [%p] "),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._as_server(lock),
            )
        finally:
            os.close(lock)  # from here on only the server's own processes hold it

    def _prepare(self, lock: int) -> None:
        at = self.places
        hba = at.base / "hba.conf"
        if not hba.exists() or hba.read_text() != HBA:
            places.replace(hba, HBA)
        if self._user:
            places.give(hba, self._user)
        hba.chmod(0o600)
        for abandoned in at.base.glob(".init-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        if not at.data.is_dir():
            if at.password.exists():
                raise EmbeddedServerError(
                    f"{at.data}, the embedded server's data, is gone: restore it, or remove "
                    f"{at.state} to begin with an empty database"
                )
            self._initialise(lock)
        if not at.password.exists():
            # the first start; or the file was removed, or we died before it was written
            password = os.urandom(24).hex()
            self._single_user(at.data, f"ALTER ROLE {ROLE} PASSWORD '{password}'", lock)
            places.replace(at.password, password)

    def _initialise(self, lock: int) -> None:
        """Make the data aside and rename it, so that half of it is never taken for data."""
        at = self.places
        aside = Path(tempfile.mkdtemp(prefix=".init-", dir=at.base))
        try:
            first_password = aside / "password"
            first_password.write_text(os.urandom(24).hex())
            if self._user:
                for path in (first_password, aside):
                    places.give(path, self._user)
            data = aside / "data"
            self._run(
                [
                    *("initdb", "-D", data, f"--username={ROLE}", f"--pwfile={first_password}"),
                    *("--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions"),
                    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                    *(f"--set={name}={value}" for name, value in SETTINGS.items()),
                ],
                lock,
            )
            self._single_user(data, f"CREATE DATABASE {DATABASE}", lock)
            data.rename(at.data)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _single_user(self, data: Path, statement: str, lock: int) -> None:
        """Run a statement without a server; through a pipe, for arguments are public."""
        self._run(["postgres", "--single", "-D", data, "postgres"], lock, f"{statement}\n")

    def _run(self, command: list[str | Path], lock: int, typed: str | None = None) -> None:
        program, *arguments = command
        process = subprocess.run(
            [self._programs / program, *arguments],
            input=typed,
            stdin=subprocess.DEVNULL if typed is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            **self._as_server(lock),
        )
        # the single-user server goes on after an error and exits with 0
        if process.returncode != 0 or _LEVELS.search(process.stdout):
            raise self.failure(process.stdout.splitlines(), f"{program} failed")

    def _as_server(self, lock: int) -> dict[str, Any]:
        """How the server's programs are started: their user, and what they inherit."""
        options: dict[str, Any] = {
            "cwd": "/",
            "env": {"LC_ALL": "C", "PATH": os.defpath},
            "umask": 0o077,
            "start_new_session": True,
            "pass_fds": (lock,),
            # runs after the change of user, which clears it
            "preexec_fn": partial(_end_with, os.getpid()),
        }
        if self._user:
            options |= {"user": self._user.uid, "group": self._user.gid, "extra_groups": []}
        return options

    def failure(self, lines: Iterable[str], otherwise: str) -> TunerError:
        """Return what PostgreSQL complained about as an error, in one sentence."""
        output = [line.strip() for line in lines if line.strip()]
        text = "\n".join(output)
        if any(words in text for words in _NO_SPACE):
            return DiskFullError(f"{self.places.base}: no space left on the device")
        if "incompatible with server" in text:
            made_by = (self.places.data / "PG_VERSION").read_text().strip()
            return EmbeddedServerError(
                f"{self.places.data} was made by PostgreSQL {made_by}, this tuner brings "
                f"PostgreSQL {programs.MAJOR}: name another folder in TUNER_HOME, or dump the data "
                f"with PostgreSQL {made_by} and load it here"
            )
        complaints = [match["message"] for line in output if (match := _LEVELS.search(line))]
        reason = (complaints or output or [otherwise])[-1]
        return EmbeddedServerError(
            f"the embedded PostgreSQL server did not start: {reason} (see {self.places.log})"
        )

    def _take_over(self) -> int:
        """Lock the cluster, ending what an earlier server left behind; returns the open lock."""
        path = self.places.base / "cluster.lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            began = time.monotonic()
            while not try_lock(lock):
                waited = time.monotonic() - began
                if waited > GONE_TIMEOUT:
                    raise EmbeddedServerError(
                        f"processes of an earlier server still use {self.places.data}"
                    )
                if waited > GRACE:
                    _kill_holders(lock)
                time.sleep(0.005)
            _remove_stale_pid_file(self.places.data)
        except BaseException:
            os.close(lock)
            raise
        return lock


def try_lock(descriptor: int) -> bool:
    """Take the exclusive lock of an open file, unless another process has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end_with(parent: int) -> None:
    """In the child: SIGQUIT, PostgreSQL's immediate shutdown, as soon as the parent has ended."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
        if os.getppid() != parent:  # it ended before that
            os._exit(1)


def _kill_holders(lock: int) -> None:
    """Kill the processes that inherited the lock: backends too busy to notice the end."""
    lock_stat = os.fstat(lock)
    for pid in _processes():
        if pid == os.getpid():
            continue
        try:
            process = os.pidfd_open(pid)  # first: so its files below are those of this process
        except OSError:
            continue
        try:
            if any(os.path.samestat(lock_stat, open_stat) for open_stat in _open_files(pid)):
                signal.pidfd_send_signal(process, signal.SIGKILL)
        except OSError:
            continue
        finally:
            os.close(process)


def _processes() -> Iterator[int]:
    proc = Path("/proc")
    if proc.is_dir():
        yield from (int(entry.name) for entry in proc.iterdir() if entry.name.isdigit())


def _open_files(pid: int) -> Iterator[os.stat_result]:
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            yield descriptor.stat()
        except FileNotFoundError:
            continue  # closed meanwhile


def _remove_stale_pid_file(data: Path) -> None:
    """Remove a pid file whose pid is another program's by now: `postgres` would not start.

    None of our processes is left when this is called. A server that somebody started by hand works
    in the data folder, and its file stays.
    """
    path = data / "postmaster.pid"
    try:
        pid = int(path.read_text().split()[0])
        works_here = Path(f"/proc/{pid}/cwd").samefile(data)
    except (OSError, ValueError, IndexError):
        return  # no file, no such process, or another user's: `postgres` copes with those
    if not works_here:
        path.unlink(missing_ok=True)


def _quoted(folder: Path) -> str:
    """Quote a folder for PostgreSQL's comma-separated list of folders."""
    return '"' + str(folder).replace('"', '""') + '"'
