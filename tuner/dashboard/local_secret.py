"""The secret that opens a dashboard without accounts: its owner's private file.

Every account of a machine reaches its loopback, so a loopback address does not prove who the client
is. As in Jupyter, the address that is opened and printed carries a secret, which the browser
exchanges for a cookie. The secret belongs to a TUNER_HOME and survives a restart: open pages keep
working.

    TUNER_HOME/dashboard/secret            0600
    TUNER_HOME/dashboard/HOST_PORT         the address of the dashboard there, which locks the file
    TUNER_HOME/dashboard/HOST_PORT.html    0600, the page that the browser is started with
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

# a pipe that somebody put there must not keep us waiting
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
FOLDER = "dashboard"
QUERY = "token"  # the parameter of an address that carries the secret, as Jupyter names it


class Secret:
    """A secret that opens a dashboard; `repr` never shows it."""

    def __init__(self, value: str | None = None) -> None:
        """Take `value`, by default a new secret of 256 bits."""
        self._value = value or secrets.token_urlsafe(32)

    def __repr__(self) -> str:
        return "Secret(…)"

    @property
    def cookie(self) -> str:
        """What the browser keeps; it does not reveal the secret, which programs send."""
        return self.sign("cookie")

    def opens(self, candidate: str) -> bool:
        """Whether this is the secret, as an address or a program sends it."""
        return _equal(candidate, self._value)

    def opens_as_cookie(self, candidate: str) -> bool:
        """Whether this is the cookie that the secret was exchanged for."""
        return _equal(candidate, self.cookie)

    def sign(self, text: str) -> str:
        """A signature that only this secret can make."""
        return hmac.new(self._value.encode(), text.encode("utf-8", "replace"), "sha256").hexdigest()

    def signed(self, text: str, signature: str) -> bool:
        """Whether `sign` made this signature of the text."""
        return _equal(signature, self.sign(text))

    def in_address(self, address: str, path: str = "/") -> str:
        """The URL that logs a browser in and shows this page."""
        return f"{address}{path}{'&' if '?' in path else '?'}{QUERY}={self._value}"

    @property
    def header(self) -> dict[str, str]:
        """The header that a program sends."""
        return {"Authorization": f"Bearer {self._value}"}


def load(home: Path) -> Secret:
    """The secret of this home, created on first use.

    A file that somebody else could read or has put there is replaced. BadInputError if the file
    cannot be written.
    """
    path = _folder(home) / "secret"
    try:
        value = _load_private(path)
        if value is None:
            path.unlink(missing_ok=True)
            value = _save_private(path, secrets.token_urlsafe(32))
    except OSError as error:
        raise BadInputError(f"{shown(path)}: cannot be written ({error.strerror})") from error
    return Secret(value)


def page_for_browser(home: Path, secret: Secret, address: str) -> str:
    """The URL of a private file that leads a browser to the address with the secret.

    All accounts of the machine can read a program's arguments in /proc, so the secret must not be
    among them.
    """
    path = _page(home, address)
    target = html.escape(secret.in_address(address))
    try:
        path.unlink(missing_ok=True)
        _save_private(
            path,
            '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
            f'<meta http-equiv="refresh" content="0; url={target}">'
            f'<title>tuner</title><a href="{target}">Open the dashboard</a>',
        )
    except OSError as error:
        raise BadInputError(f"{shown(path)}: cannot be written ({error.strerror})") from error
    return path.resolve().as_uri()


@contextmanager
def announce(home: Path, address: str) -> Iterator[None]:
    """Let `is_running` find the dashboard at this address while the block runs."""
    path = _record(home, address)
    descriptor = None
    try:
        if _load_private(path, shortest=0) is None:  # none of ours
            path.unlink(missing_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o600)
        # a lock, unlike a process id, ends with its process and is never another's afterwards
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, address.encode())
    except OSError as error:  # the dashboard serves without it
        _log.warning("%s: cannot be written (%s)", shown(path), error.strerror)
    try:
        yield
    finally:
        if descriptor is not None:
            with suppress(OSError):
                _page(home, address).unlink(missing_ok=True)
                path.unlink(missing_ok=True)
            os.close(descriptor)


def is_running(home: Path, address: str) -> bool:
    """Whether a dashboard of this home serves at the address now; sends nothing to it."""
    try:
        descriptor = os.open(_record(home, address), _READ)
    except OSError:
        return False
    try:
        # if the record were somebody else's, the secret would be sent to what listens there
        if not _is_private(descriptor):
            return False
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        is_locked = error.errno in (errno.EWOULDBLOCK, errno.EACCES)
        return is_locked and os.read(descriptor, 1000) == address.encode()
    finally:
        os.close(descriptor)
    return False


def _equal(candidate: str, secret: str) -> bool:
    """Whether they are equal, compared in constant time."""
    return hmac.compare_digest(candidate.encode("utf-8", "replace"), secret.encode())


def _record(home: Path, address: str) -> Path:
    url = urlsplit(address)
    return _folder(home) / safe_name(f"{url.hostname}_{url.port}".replace(":", "-"))


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


def _load_private(path: Path, *, shortest: int = 40) -> str | None:
    """The content of a file that is ours alone, if it is that long; else None."""
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
    """Whether it is a file that nobody else can read or write."""
    status = os.fstat(descriptor)
    is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
    return is_ours and not stat.S_IMODE(status.st_mode) & 0o077


def _save_private(path: Path, content: str) -> str:
    """Write the file and return its content: another process's, if that was faster."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
    return _load_private(path) or content
