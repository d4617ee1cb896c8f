"""A PostgreSQL server apart from tuner: reached by TCP with a password, and as mortal as any."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from tests.support.homes import new_home
from tests.support.waiting import STUCK, eventually
from tuner.database.embedded import places, programs

PASSWORD = "0123456789abcdef"


class Server:
    """The processes of one server; its superuser is `tuner`, SCRAM alone."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        """Make its data in an empty folder; `host` is the address that it will listen at."""
        user = places.server_user(folder)  # PostgreSQL refuses to run as root
        self._programs = programs.make_reachable(programs.find(), user)
        self._how: dict[str, Any] = {"cwd": "/", "env": {"LC_ALL": "C", "PATH": os.defpath}}
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if user is not None:
            places.give(folder, user)
            places.give(secret, user)
            self._how |= {"user": user.uid, "group": user.gid, "extra_groups": []}
        self._data = folder / "data"
        self.log = folder / "log"
        options = ["--username=tuner", f"--pwfile={secret}", "--auth=scram-sha-256", "--no-sync"]
        subprocess.run(
            [self._programs / "initdb", "-D", self._data, "--encoding=UTF8", *options],
            check=True, stdout=subprocess.DEVNULL, **self._how,
        )  # fmt: skip
        if host != "127.0.0.1":
            with (self._data / "pg_hba.conf").open("a") as rules:
                rules.write("host all all all scram-sha-256\n")
        with socket.socket() as free:
            free.bind((host, 0))
            self.port = free.getsockname()[1]
        self.host = host
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = ["-h", self.host, "-p", str(self.port), "-k", "", "-c", "fsync=off"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, *options],
                stderr=log, **self._how,
            )  # fmt: skip
        eventually(self.answers)

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End it: at once, its backends too (SIGQUIT), in order (SIGINT), or by SIGKILL."""
        assert self._process is not None
        family = self.processes()
        self._process.send_signal(how)
        self._process.wait(STUCK)
        psutil.wait_procs(family, STUCK)  # after a SIGKILL the backends notice the end themselves

    def processes(self) -> list[psutil.Process]:
        """The postmaster and its backends."""
        assert self._process is not None
        postmaster = psutil.Process(self._process.pid)
        return [postmaster, *postmaster.children(recursive=True)]

    def answers(self) -> bool:
        """Whether it can be connected to."""
        try:
            self.connect("postgres").close()
        except psycopg2.OperationalError:
            return False
        return True

    def connect(self, database: str) -> Any:
        """A connection of the driver's, to be closed."""
        return psycopg2.connect(
            host=self.host, port=self.port, user="tuner", password=PASSWORD, dbname=database
        )

    def execute(self, *statements: str) -> None:
        """Run statements as the superuser, each by itself."""
        connection = self.connect("postgres")
        connection.autocommit = True
        for statement in statements:
            connection.cursor().execute(statement)
        connection.close()

    def create(self, database: str) -> str:
        """Make an empty database; returns its URL."""
        self.execute(f"CREATE DATABASE {database}")
        return f"postgresql://tuner:{PASSWORD}@{self.host}:{self.port}/{database}"


@contextmanager
def separate_server(host: str = "127.0.0.1") -> Iterator[Server]:
    """A server that runs; nothing is left of it."""
    folder = new_home()
    server = Server(folder, host)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
