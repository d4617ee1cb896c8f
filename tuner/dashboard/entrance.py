"""Who may use a dashboard without accounts: whoever can read its owner's private files.

Every account of a machine reaches its loopback, so an address there is no proof of who asks. As in
Jupyter, the address that is opened and printed carries a secret, which the browser exchanges for a
cookie. The secret belongs to a TUNER_HOME and outlives a restart: open pages go on.

    TUNER_HOME/dashboard/secret            0600
    TUNER_HOME/dashboard/HOST_PORT         the address of a dashboard there, which locks it
    TUNER_HOME/dashboard/HOST_PORT.html    0600, what the browser is started with
"""

import errno
import fcntl
import hmac
import html
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from tuner.errors import BadInputError
from tuner.files import make_home, safe_name, shown

_log = logging.getLogger(__name__)

# a pipe that somebody has put there must not keep us waiting
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
FOLDER = "dashboard"
QUERY = "token"  # the parameter of an address that carries the secret, as Jupyter names it


class Secret:
    """A secret that opens a dashboard; never shown by `repr`."""

    def __init__(self, value: str | None = None) -> None:
        """`value`: by default a new one, of 256 bits."""
        self._value = value or secrets.token_urlsafe(32)

    def __repr__(self) -> str:
        return "Secret(…)"

    @property
    def cookie(self) -> str:
        """What the browser keeps: from it nobody learns the secret that programs send."""
        return self.sign("cookie")

    def opens(self, given: str) -> bool:
        """Whether this is the secret, as an address or a program sends it."""
        return _same(given, self._value)

    def opens_as_cookie(self, given: str) -> bool:
        """Whether this is the cookie that was given for the secret."""
        return _same(given, self.cookie)

    def sign(self, text: str) -> str:
        """A signature that only this secret makes."""
        return hmac.new(self._value.encode(), text.encode("utf-8", "replace"), "sha256").hexdigest()

    def signed(self, text: str, signature: str) -> bool:
        """Whether `sign` has made this signature of the text."""
        return _same(signature, self.sign(text))

    def in_address(self, address: str, path: str = "/") -> str:
        """The address that lets a browser in, and shows it this page."""
        return f"{address}{path}{'&' if '?' in path else '?'}{QUERY}={self._value}"

    @property
    def header(self) -> dict[str, str]:
        """What a program sends."""
        return {"Authorization": f"Bearer {self._value}"}


def load(home: Path) -> Secret:
    """The secret of this home, made on first use.

    A file that somebody else could read or has put there is replaced. BadInputError where none can
    be written.
    """
    path = _folder(home) / "secret"
    try:
        value = _read_private(path)
        if value is None:
            path.unlink(missing_ok=True)
            value = _write_private(path, secrets.token_urlsafe(32))
    except OSError as error:
        raise BadInputError(f"{shown(path)}: cannot be written ({error.strerror})") from error
    return Secret(value)


def page_for_browser(home: Path, secret: Secret, address: str) -> str:
    """The URL of a private file that leads a browser to the address with the secret.

    What a program is started with is there for all accounts of the machine to read, in /proc.
    """
    path = _page(home, address)
    target = html.escape(secret.in_address(address))
    try:
        path.unlink(missing_ok=True)
        _write_private(
            path,
            '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
            f'<meta http-equiv="refresh" content="0; url={target}">'
            f'<title>tuner</title><a href="{target}">Open the dashboard</a>',
        )
    except OSError as error:
        raise BadInputError(f"{shown(path)}: cannot be written ({error.strerror})") from error
    return path.resolve().as_uri()


@contextmanager
def announced(home: Path, address: str) -> Iterator[None]:
    """Let `running` find the dashboard at this address for as long as the block runs."""
    path = _record(home, address)
    descriptor = None
    try:
        if _read_private(path, shortest=0) is None:  # none of ours
            path.unlink(missing_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o600)
        # a lock, unlike a process id, ends with its process and means nobody else afterwards
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, address.encode())
    except OSError as error:  # the dashboard serves all the same
        _log.warning("%s: cannot be written (%s)", shown(path), error.strerror)
    try:
        yield
    finally:
        if descriptor is not None:
            with suppress(OSError):
                _page(home, address).unlink(missing_ok=True)
                path.unlink(missing_ok=True)
            os.close(descriptor)


def running(home: Path, address: str) -> bool:
    """Whether a dashboard of this home serves at the address now; asks nobody who might listen."""
    try:
        descriptor = os.open(_record(home, address), _READ)
    except OSError:
        return False
    try:
        # somebody else's record would have the secret sent to whoever listens there
        if not _is_private(descriptor):
            return False
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        is_locked = error.errno in (errno.EWOULDBLOCK, errno.EACCES)
        return is_locked and os.read(descriptor, 1000) == address.encode()
    finally:
        os.close(descriptor)
    return False


def _same(given: str, secret: str) -> bool:
    """In the same time wherever they differ."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def _record(home: Path, address: str) -> Path:
    where = urlsplit(address)
    return _folder(home) / safe_name(f"{where.hostname}_{where.port}".replace(":", "-"))


def _page(home: Path, address: str) -> Path:
    record = _record(home, address)
    return record.with_name(f"{record.name}.html")


def _folder(home: Path) -> Path:
    folder = home / FOLDER
    make_home(home)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise BadInputError(f"{shown(folder)}: cannot be written ({error.strerror})") from error
    return folder


def _read_private(path: Path, *, shortest: int = 40) -> str | None:
    """The content of a file that is ours alone, if it is as long; None where there is none."""
    try:
        descriptor = os.open(path, _READ)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return None
        raise
    with os.fdopen(descriptor, encoding="ascii", errors="replace") as file:
        content = file.read(1000).strip() if _is_private(descriptor) else None
    return content if content is not None and len(content) >= shortest else None


def _is_private(descriptor: int) -> bool:
    """Whether it is a file that nobody else could read or write."""
    status = os.fstat(descriptor)
    is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
    return is_ours and not stat.S_IMODE(status.st_mode) & 0o077


def _write_private(path: Path, content: str) -> str:
    """Write the file, unless another process was faster: then what that one has written."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            os.link(aside, path)
    finally:
        aside.unlink()
    return _read_private(path) or content
