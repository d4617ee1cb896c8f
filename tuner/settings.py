"""Environment variables → `Settings`; the only reader of `os.environ`.

Every setting is an environment variable with the prefix `TUNER_` (a `.env` file is *not* read: a
file in the working directory must not decide which database is written).
"""

import os
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from tuner.errors import BadInputError, visible

PREFIX = "TUNER_"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def _absolute(path: Path) -> Path:
    if path == Path():
        raise ValueError("must be the path of a folder")
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise ValueError("starts with a user that has no home folder") from None


def _level(name: str) -> str:
    if name.upper() not in LEVELS:
        raise ValueError(f"must be one of {', '.join(LEVELS)}")
    return name.upper()


class Settings(BaseSettings):
    """The settings of a process, from its environment."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        hide_input_in_errors=True,  # the URL may hold a password
    )

    database_url: SecretStr | None = Field(
        default=None,
        description="SQLAlchemy or libpq URL of a PostgreSQL server; unset: the embedded server.",
    )
    home: Annotated[Path, AfterValidator(_absolute)] = Field(
        default=Path("~/.tuner"),
        validate_default=True,
        description="Folder of the embedded server, prepared data, checkpoints, weights and logs.",
    )
    cache_gb: float = Field(
        default=20.0,
        ge=0,
        description="GB of prepared data to keep; the least recently used goes first, but nothing "
        "that is in use.",
    )
    database_linger: float = Field(
        default=5.0,
        description="Seconds the embedded server stays up after the last process has left; "
        "negative: it stays until `tuner db stop`.",
    )
    listen: bool = Field(
        default=True,
        description="Whether to wait for PostgreSQL's notifications; off behind a pooler in "
        "transaction mode, where they do not arrive.",
    )
    lease_seconds: float = Field(
        default=15.0,
        ge=1,
        le=86_400,
        description="How long a worker holds a trial without renewing; after that it is requeued.",
    )
    allow_code: bool | None = Field(
        default=None,
        description="Whether `tuner worker` runs studies with user code; unset: only those of the "
        "embedded server, to which only this user can write.",
    )
    drain_grace: float = Field(
        default=20.0,
        ge=0,
        le=86_400,
        description="Seconds that running trials may take to finish or to write a checkpoint when "
        "they are told to stop.",
    )
    data_folders: str | None = Field(
        default=None,
        description="Folders, separated by `:`, whose files accounts of the dashboard may name as "
        "data, besides their uploads.",
    )
    uploads_gb: float = Field(
        default=1.0,
        ge=0,
        description="GB of all uploads to the dashboard together.",
    )
    hub_models: str | None = Field(
        default=None,
        description="Models of the Hugging Face hub, separated by spaces or commas, that accounts "
        "of the dashboard other than admins may name; `*` matches anything, as in "
        "`sentence-transformers/*`. Unset: none.",
    )
    log_level: Annotated[str, AfterValidator(_level)] = Field(
        default="WARNING", description="Level of the log on stderr."
    )

    @property
    def data_cache(self) -> Path:
        """Folder of prepared data sets, one sub-folder per fingerprint."""
        return self.home / "cache"

    @property
    def readable_folders(self) -> tuple[Path, ...]:
        """Folders whose files accounts of the dashboard may name as data."""
        return tuple(Path(folder) for folder in (self.data_folders or "").split(":") if folder)

    @property
    def allowed_models(self) -> tuple[str, ...]:
        """Patterns of the models that accounts of the dashboard may use."""
        return tuple((self.hub_models or "").replace(",", " ").split())

    @property
    def cache_bytes(self) -> int:
        """Bytes of prepared data to keep."""
        return int(self.cache_gb * 1e9)

    @property
    def uploads_bytes(self) -> int:
        """Bytes of all uploads together."""
        return int(self.uploads_gb * 1e9)

    @property
    def vectors(self) -> Path:
        """Folder of word vectors that studies took from others, one sub-folder per source."""
        return self.home / "vectors"

    @property
    def uploads(self) -> Path:
        """Folder of uploaded data sets, one sub-folder per content."""
        return self.home / "uploads"

    @property
    def artifacts(self) -> Path:
        """Folder of checkpoints and weights, one sub-folder per study."""
        return self.home / "artifacts"


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Read the settings of this process, once; BadInputError with one line per wrong variable."""
    try:
        return Settings()
    except ValidationError as error:
        details = error.errors(include_url=False)
    # outside the handler: else the exception would keep the error's own text, with the values
    raise BadInputError("\n".join(map(_sentence, details)))


def _sentence(details: ErrorDetails) -> str:
    """Say what is wrong with one variable, without a value that may hold a password."""
    name = str(details["loc"][0])
    kind, context = details["type"], details.get("ctx", {})
    sentence = {
        "bool_parsing": "must be true or false",
        "float_parsing": "must be a number",
        "finite_number": "must be a finite number",
        "greater_than_equal": f"must be at least {context.get('ge', 0):g}",
        "less_than_equal": f"must be at most {context.get('le', 0):g}",
        "value_error": str(context.get("error")),
    }.get(kind, details["msg"])
    value = "" if name == "database_url" else f", is `{visible(str(details['input']))}`"
    return f"{PREFIX}{name.upper()}: {sentence}{value}"


def visible_cuda_devices() -> tuple[str, ...] | None:
    """The devices that CUDA_VISIBLE_DEVICES names; None if it is not set."""
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    return None if value is None else tuple(filter(None, map(str.strip, value.split(","))))


def current_environment() -> dict[str, str]:
    """Copy the environment of this process, to restore it after user code."""
    return dict(os.environ)


def restore_environment(before: Mapping[str, str]) -> None:
    """Undo all changes since then."""
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


def python_environment() -> dict[str, str]:
    """The environment of tuner's Python processes, without the working folder in PYTHONPATH.

    An empty entry stands for it, and `PYTHONPATH=$PYTHONPATH:src` often has one.
    """
    environment = dict(os.environ)
    folders = list(filter(None, environment.pop("PYTHONPATH", "").split(os.pathsep)))
    return environment | ({"PYTHONPATH": os.pathsep.join(folders)} if folders else {})


def executor_environment(threads: int, cuda_device: str | None) -> dict[str, str]:
    """The environment of an executor, in which user code finds no password of the database."""
    secret = (PREFIX, "PGPASS")  # libpq reads PGPASSWORD if the URL has none
    environment = {
        k: v for k, v in python_environment().items() if not k.upper().startswith(secret)
    }
    environment["OMP_NUM_THREADS"] = environment["MKL_NUM_THREADS"] = str(threads)
    environment["CUDA_VISIBLE_DEVICES"] = cuda_device or ""
    return environment


def prepare_mlflow() -> None:
    """Set how MLflow's client behaves, unless the user did; call it before importing MLflow."""
    for name, value in (
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"),  # the default of 7 takes minutes
        ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"),  # stdout belongs to `--json`
    ):
        os.environ.setdefault(name, value)


def command_environment() -> dict[str, str]:
    """The environment of users' commands: no settings of tuner, and this Python's programs first.

    So `python` in a study file is the Python that runs tuner, and `tuner` is this tuner.
    """
    environment = {k: v for k, v in os.environ.items() if not k.upper().startswith("TUNER_")}
    programs = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join([programs, environment.get("PATH", os.defpath)])
    return environment
