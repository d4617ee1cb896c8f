"""Where the embedded server's files lie, and who may reach them.

    HOME/postgres/            the state folder, of the user who runs tuner
        password              of PostgreSQL's role `tuner`; only for that user
        base                  names the base folder, where it is another one
    <base>/                   the state folder itself, or /var/lib/tuner/<hash of the home>
        data/                 PostgreSQL's data folder
        hba.conf  server.log  lock  cluster.lock
        run-folder            names the run folder, where it is another one
    <run>/                    <base>/run, or a private folder /tmp/tuner-…
        control               the supervisor's socket
        s/                    PostgreSQL's socket

PostgreSQL refuses to run as root. For root it runs as `postgres` or `nobody`, who cannot enter
/root/.tuner, and opening somebody's parent folders is not ours to do: then the base lies in
/var/lib/tuner. A socket's path ends at 107 bytes: for a longer one the run folder lies in /tmp.
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
SERVER_USERS = ("postgres", "nobody")  # whom root's server runs as: the first there is
PORT = 5432  # only a part of the socket's name: there is no TCP
MAX_SOCKET_PATH = 107  # bytes

# the user has named a place where nothing can be written
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
        """File of the role's password."""
        return self.state / "password"

    @property
    def data(self) -> Path:
        """PostgreSQL's data folder."""
        return self.base / "data"

    @property
    def log(self) -> Path:
        """What PostgreSQL and the supervisor have to say."""
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
    """The state folder of a home; refuses one that belongs to another user."""
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
    """The places of a home as they were made; None where no server has run yet."""
    state = state_folder(home)
    base = Path(_read(state / "base") or state)
    run = base / "run"
    if not _fits(run):
        recorded = _recorded_run(base)
        if recorded is None:
            return None
        run = recorded
    return Places(state, base, run)


def make_base(home: Path) -> tuple[Path, Path]:
    """Make the state folder and the base; says the same to all who ask at the same time."""
    state = state_folder(home)
    state.mkdir(mode=0o700, exist_ok=True)
    state_folder(home)  # somebody else may have been first
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
    recorded = _read(state / "base")
    if recorded:
        return Path(recorded)
    # once made it stays, whatever happens to the permissions of the folders above
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
    """Whom the server must run as; None: as the user who runs tuner."""
    if os.geteuid() != 0:
        return None
    try:
        made = (base / "data").lstat()
        return ServerUser(made.st_uid, made.st_gid)
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
    """Whether a user who belongs to no other group may enter a folder and all above it."""
    if user is None:
        return True
    real = Path(os.path.realpath(folder))
    return all(_may_enter(part.stat(), user) for part in (real, *real.parents))


def _may_enter(found: os.stat_result, user: ServerUser) -> bool:
    if found.st_uid == user.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == user.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def root_folder(path: Path, mode: int) -> None:
    """Make a folder of root's own; refuses one that somebody else could have prepared."""
    path.mkdir(mode=mode, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
        raise EmbeddedServerError(f"{path} must be a folder that only root can write")
    path.chmod(mode)


def give(path: Path, user: ServerUser) -> None:
    """Make the server's user own a file or folder; never through a link that somebody put there."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fchown(descriptor, user.uid, user.gid)
    finally:
        os.close(descriptor)


def replace(path: Path, content: str) -> None:
    """Write a small file that only its owner may read; whole or not at all."""
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


def explained(error: OSError, path: Path) -> TunerError:
    """An error of the file system as one that the user can act upon."""
    where = os.fsdecode(error.filename or path)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(f"{where}: no space left on the device")
    if error.errno in _PLACE:
        return BadInputError(f"{where}: cannot be written ({error.strerror})")
    return EmbeddedServerError(f"the embedded server cannot be started: {error}")


def _read(path: Path) -> str | None:
    try:
        return os.fsdecode(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None


def _fits(run: Path) -> bool:
    """Whether a socket can have that path and libpq be told of it: a comma separates its hosts."""
    path = os.fsencode(run / "s" / f".s.PGSQL.{PORT}")
    return len(path) <= MAX_SOCKET_PATH and str(run).isprintable() and "," not in str(run)


def _recorded_run(base: Path) -> Path | None:
    recorded = _read(base / "run-folder")
    if recorded is None:
        return None
    run = Path(recorded)
    try:
        found = run.lstat()
    except FileNotFoundError:
        return None
    # it may have been cleaned away and its name taken by another user, or the whole home be a copy
    private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o022
    if not private or found.st_uid != os.geteuid() or _read(run / "of") != _identity(base):
        return None
    return run


def _identity(folder: Path) -> str:
    found = folder.stat()
    return f"{found.st_dev}:{found.st_ino}"


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
