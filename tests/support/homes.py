"""Homes of tuner for tests that start a server of their own, or all of its files."""

import shutil
import tempfile
from pathlib import Path

from tuner.database import embedded
from tuner.database.embedded import places


def new_home() -> Path:
    """An empty TUNER_HOME; not in pytest's folders: root's server runs as a user kept out there."""
    home = Path(tempfile.mkdtemp(prefix="tuner-test-", dir=_public_folder()))
    home.chmod(0o755)
    return home


def _public_folder() -> Path:
    """The folder of temporary files, or where it is private another one that all may enter."""
    folders = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]
    user = places.server_user(folders[0])
    return next((f for f in folders if f.is_dir() and places.can_enter(f, user)), folders[0])


def remove_home(home: Path) -> None:
    """Stop the home's server and remove all that it has."""
    embedded.stop(home, force=True)
    run = home / "postgres" / "run-folder"
    if run.exists():
        shutil.rmtree(run.read_text())
    shutil.rmtree(home, ignore_errors=True)
