"""How a command's reports arrive: over two pipes that it inherits, and over a socket with a path.

Pipes are all that a shell needs. torchrun, accelerate, Python's subprocess and others close the
descriptors of what they start, but pass on the environment, which holds the socket's path. The
socket is in a folder that only this user may enter, and accepts any number of connections at once.
"""

import contextlib
import os
import selectors
import shutil
import socket
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

SOCKET = "reports"  # in the folder
MAX_LINE = 65_536  # bytes of a report
MAX_PATH = 103  # bytes of a socket's path; macOS has the lowest limit
SHORT = "/tmp"  # noqa: S108 - only for mkdtemp, which creates private folders
BACKLOG = 128  # connections that wait to be accepted


class ReportLine(NamedTuple):
    """A line that arrived, and how to answer it."""

    text: bytes
    answer: Callable[[bytes], None]


class _Peer:
    """A sender of lines: the program over the pipes, or a process over a connection."""

    def __init__(self, receive: Callable[[int], bytes], send: Callable[[bytes], object]) -> None:
        self._receive = receive
        self._send = send
        self._rest = b""  # the beginning of an unfinished line
        self.ended = False

    def receive_lines(self) -> list[ReportLine] | None:
        """Receive the lines that have arrived; None if there are none, now or for ever."""
        try:
            chunk = b"" if self.ended else self._receive(MAX_LINE)
        except BlockingIOError:
            return None
        except OSError:  # connection reset
            chunk = b""
        if self.ended:
            return None
        self.ended = not chunk
        *complete, rest = (self._rest + chunk).split(b"\n")
        if rest and (self.ended or len(rest) > MAX_LINE):  # a last line without a newline
            complete.append(rest)
            rest = b""
        self._rest = rest
        return [ReportLine(text, self._answer) for text in complete]

    def _answer(self, answer: bytes) -> None:
        with contextlib.suppress(OSError):  # the peer reads no answers, or is gone
            self._send(answer)


class ReportChannels:
    """Both pipes and the socket of one command."""

    def __init__(self, ending: socket.socket) -> None:
        """`ending` becomes readable once the command has ended."""
        with contextlib.ExitStack() as stack:
            self.folder = _private_folder()
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self.path = self.folder / SOCKET
            self._listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            self._listener.setblocking(False)
            self._listener.bind(str(self.path))
            self._listener.listen(BACKLOG)
            reports, self.reports = os.pipe()
            self.answers, answers = os.pipe()
            self._theirs = [self.reports, self.answers]
            stack.callback(self.close_theirs)
            for descriptor in (reports, answers):
                stack.callback(os.close, descriptor)
                os.set_blocking(descriptor, False)
            self._peers: dict[_Peer, int | socket.socket] = {}
            stack.callback(self._disconnect)
            self._selector = stack.enter_context(selectors.DefaultSelector())
            self._selector.register(ending, selectors.EVENT_READ)
            self._selector.register(self._listener, selectors.EVENT_READ)
            self._add(reports, partial(os.read, reports), partial(os.write, answers))
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Close everything and remove the folder."""
        self._stack.close()

    def close_theirs(self) -> None:
        """Close the ends that the command inherited."""
        while self._theirs:
            os.close(self._theirs.pop())

    def wait(self, seconds: float) -> tuple[list[ReportLine], bool]:
        """Wait for lines for some seconds; returns them, and whether the command has ended."""
        lines: list[ReportLine] = []
        ended = False
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self._listener:
                self._accept()
            elif isinstance(key.data, _Peer):
                lines += key.data.receive_lines() or []
                if key.data.ended:
                    self._remove(key.data)
            else:
                ended = True
        return lines, ended

    def drain(self) -> list[ReportLine]:
        """Receive the remaining lines of a command that has ended."""
        self._accept()
        lines: list[ReportLine] = []
        for peer in list(self._peers):
            while (more := peer.receive_lines()) is not None:
                lines += more
        return lines

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # BlockingIOError: no more connections
            while True:
                connection, _ = self._listener.accept()
                connection.setblocking(False)
                self._add(connection, connection.recv, connection.send)

    def _add(
        self,
        source: int | socket.socket,
        receive: Callable[[int], bytes],
        send: Callable[[bytes], object],
    ) -> None:
        peer = _Peer(receive, send)
        self._peers[peer] = source
        self._selector.register(source, selectors.EVENT_READ, peer)

    def _remove(self, peer: _Peer) -> None:
        source = self._peers.pop(peer)
        self._selector.unregister(source)
        if isinstance(source, socket.socket):
            source.close()

    def _disconnect(self) -> None:
        for source in self._peers.values():
            if isinstance(source, socket.socket):
                source.close()


def _private_folder() -> Path:
    folder = tempfile.mkdtemp(prefix="tuner-reports-")
    if len(os.fsencode(folder)) + 1 + len(SOCKET) > MAX_PATH:
        Path(folder).rmdir()
        folder = tempfile.mkdtemp(prefix="tuner-reports-", dir=SHORT)
    return Path(folder)
