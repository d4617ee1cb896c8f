"""Where the embedded server's files lie, and who may reach them.

    HOME/postgres/            the state folder, of the user who runs tuner
        password              of PostgreSQL's role `tuner`; readable only by that user
        base                  names the base folder, if that is another one
    <base>/                   the state folder itself, or /var/lib/tuner/<hash of the home>
        data/                 PostgreSQL's data folder
        hba.conf  server.log  lock  cluster.lock
        run-folder            names the run folder, if that is another one
    <run>/                    <base>/run, or a private folder /tmp/tuner-…
        control               the supervisor's socket
        s/                    PostgreSQL's socket

PostgreSQL refuses to run as root. For root it runs as `postgres` or `nobody`. These cannot enter
/root/.tuner, and opening a user's folders is not for us to do: then the base lies in
/var/lib/tuner. A socket's path may have 107 bytes: if it has more, the run folder lies in /tmp.
"""

import errno
import hashlib
import os
import pwd
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import BadInputError, DiskFullError, EmbeddedServerError, TunerError

OUTSIDE = Path("/var/lib/tuner")
SHORT = Path("/tmp")  # noqa: S108 - only for mkdtemp: private from its first moment
SERVER_USERS = ("postgres", "nobody")  # the first one that exists runs root's server
PORT = 5432  # only part of the socket's name: there is no TCP
MAX_SOCKET_PATH = 107  # bytes

# errors of a place where nothing can be written
_PLACE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST),
    *(errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP),
)


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one home's server."""

    state: Path
    base: Path
    run: Path

    @property
    def password(self) -> Path:
        """The file with the role's password."""
        return self.state / "password"

    @property
    def data(self) -> Path:
        """PostgreSQL's data folder."""
        return self.base / "data"

    @property
    def log(self) -> Path:
        """What PostgreSQL and the supervisor log."""
        return self.base / "server.log"

    @property
    def control(self) -> Path:
        """The supervisor's socket."""
        return self.run / "control"

    @property
    def sockets(self) -> Path:
        """The folder of PostgreSQL's socket; libpq's `host`."""
        return self.run / "s"

    @property
    def socket(self) -> Path:
        """PostgreSQL's socket."""
        return self.sockets / f".s.PGSQL.{PORT}"


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The unprivileged user that root's server runs as."""

    uid: int
    gid: int


def state_folder(home: Path) -> Path:
    """Return the state folder of a home; refuses one that belongs to another user."""
    state = home / "postgres"
    try:
        owner = state.lstat().st_uid
    except FileNotFoundError:
        return state
    if owner != os.geteuid():
        raise BadInputError(
            f"{state} belongs to {_user_name(owner)}: run tuner as that user or name another "
            "folder in TUNER_HOME"
        )
    return state


def find(home: Path) -> Places | None:
    """Find the places of a home; None if no server has run there yet."""
    state = state_folder(home)
    base = Path(_read_path(state / "base") or state)
    run = base / "run"
    if not _fits(run):
        recorded = _recorded_run(base)
        if recorded is None:
            return None
        run = recorded
    return Places(state, base, run)


def make_base(home: Path) -> tuple[Path, Path]:
    """Make the state folder and the base; the same ones for processes that race."""
    state = state_folder(home)
    state.mkdir(mode=0o700, exist_ok=True)
    state_folder(home)  # another user may have been first
    if os.geteuid() != 0:
        state.chmod(0o700)
        return state, state
    base = _base_of_root(home, state)
    if base != state:
        root_folder(OUTSIDE, 0o755)
        replace(state / "base", str(base))
        state.chmod(0o700)
    root_folder(base, 0o711)
    return state, base


def _base_of_root(home: Path, state: Path) -> Path:
    recorded = _read_path(state / "base")
    if recorded:
        return Path(recorded)
    # once made it stays, however the permissions of the folders above change
    if (state / "data").is_dir() or can_enter(home, server_user(state)):
        return state
    name = hashlib.sha256(os.fsencode(os.path.realpath(home))).hexdigest()[:16]
    return OUTSIDE / name


def make_run(base: Path, user: ServerUser | None) -> Path:
    """Make the run folder; the caller holds the home's lock."""
    run = base / "run"
    if _fits(run):
        run.mkdir(mode=0o700, exist_ok=True)
    else:
        recorded = _recorded_run(base)
        if recorded is None:
            recorded = Path(tempfile.mkdtemp(prefix="tuner-", dir=SHORT))
            replace(recorded / "of", _identity(base))
            replace(base / "run-folder", str(recorded))
        run = recorded
    run.chmod(0o711 if user else 0o700)
    sockets = run / "s"
    sockets.mkdir(mode=0o700, exist_ok=True)
    if user:
        give(sockets, user)
    return run


def server_user(base: Path) -> ServerUser | None:
    """Return the user that the server must run as; None: the user who runs tuner."""
    if os.geteuid() != 0:
        return None
    try:
        owner = (base / "data").lstat()
        return ServerUser(owner.st_uid, owner.st_gid)
    except FileNotFoundError:
        pass
    for name in SERVER_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerUser(entry.pw_uid, entry.pw_gid)
    raise EmbeddedServerError(
        "PostgreSQL does not run as root and this machine has no user postgres or nobody: run "
        "tuner as an ordinary user or name a server in TUNER_DATABASE_URL"
    )


def can_enter(folder: Path, user: ServerUser | None) -> bool:
    """Whether the server's user may enter a folder and all folders above it."""
    if user is None:
        return True
    real = Path(os.path.realpath(folder))
    return all(_may_enter(part.stat(), user) for part in (real, *real.parents))


def _may_enter(status: os.stat_result, user: ServerUser) -> bool:
    if status.st_uid == user.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == user.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def root_folder(path: Path, mode: int) -> None:
    """Make a folder that belongs to root; refuses one that another user could have prepared."""
    path.mkdir(mode=mode, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != 0 or status.st_mode & 0o022:
        raise EmbeddedServerError(f"{path} must be a folder that only root can write")
    path.chmod(mode)


def give(path: Path, user: ServerUser) -> None:
    """Make the server's user own a file or folder; never follows a symbolic link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fchown(descriptor, user.uid, user.gid)
    finally:
        os.close(descriptor)


def replace(path: Path, content: str) -> None:
    """Write a small file that only its owner may read, whole or not at all."""
    descriptor, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.fsencode(content))
            file.flush()
            os.fsync(file.fileno())
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def explain(error: OSError, path: Path) -> TunerError:
    """Turn an error of the file system into one that tells the user what to do."""
    where = os.fsdecode(error.filename or path)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(f"{where}: no space left on the device")
    if error.errno in _PLACE:
        return BadInputError(f"{where}: cannot be written ({error.strerror})")
    return EmbeddedServerError(f"the embedded server cannot be started: {error}")


def _read_path(path: Path) -> str | None:
    try:
        return os.fsdecode(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None


def _fits(run: Path) -> bool:
    """Whether a socket can have that path and libpq take it: a comma separates its hosts."""
    path = os.fsencode(run / "s" / f".s.PGSQL.{PORT}")
    return len(path) <= MAX_SOCKET_PATH and str(run).isprintable() and "," not in str(run)


def _recorded_run(base: Path) -> Path | None:
    recorded = _read_path(base / "run-folder")
    if recorded is None:
        return None
    run = Path(recorded)
    try:
        status = run.lstat()
    except FileNotFoundError:
        return None
    # it may be gone and its name another user's by now, or the whole home may be a copy
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o022
    if not private or status.st_uid != os.geteuid() or _read_path(run / "of") != _identity(base):
        return None
    return run


def _identity(folder: Path) -> str:
    status = folder.stat()
    return f"{status.st_dev}:{status.st_ino}"


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
