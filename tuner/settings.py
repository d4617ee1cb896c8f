"""Environment variables → `Settings`; the only reader of `os.environ`.

Every setting is an environment variable with the prefix `TUNER_` (a `.env` file is *not* read: a
file in the working directory must not decide which database is written).
"""

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


class Settings(BaseSettings):
    """What the environment decides."""

    model_config = SettingsConfigDict(env_prefix="TUNER_", frozen=True, extra="ignore")

    database_url: SecretStr | None = Field(
        default=None,
        description="SQLAlchemy or libpq URL of a PostgreSQL server; unset: the embedded server.",
    )
    home: Annotated[Path, AfterValidator(_absolute)] = Field(
        default=Path("~/.tuner"),
        validate_default=True,
        description="Folder of the embedded server, prepared data, checkpoints, weights and logs.",
    )
    database_linger: float = Field(
        default=5.0,
        description="Seconds the embedded server stays up after the last process has left; "
        "negative: it stays until `tuner db stop`.",
    )
    lease_seconds: float = Field(
        default=15.0,
        gt=0,
        description="How long a worker holds a trial without renewing; after that it is requeued.",
    )
    log_level: str = Field(default="WARNING", description="Level of the log on stderr.")

    @property
    def data_cache(self) -> Path:
        """Folder of prepared data sets, one sub-folder a fingerprint."""
        return self.home / "cache"

    @property
    def artifacts(self) -> Path:
        """Folder of checkpoints and weights, one sub-folder a study."""
        return self.home / "artifacts"


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()


def visible_cuda_devices() -> tuple[str, ...] | None:
    """What CUDA_VISIBLE_DEVICES names; None where it is not set."""
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    return None if value is None else tuple(part for part in value.split(",") if part.strip())


def executor_environment(threads: int, cuda_device: str | None) -> dict[str, str]:
    """The environment of an executor: the users' code must not find the database's password."""
    environment = {k: v for k, v in os.environ.items() if not k.upper().startswith("TUNER_")}
    environment["OMP_NUM_THREADS"] = environment["MKL_NUM_THREADS"] = str(threads)
    environment["CUDA_VISIBLE_DEVICES"] = cuda_device or ""
    return environment
