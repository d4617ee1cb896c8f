"""docker-compose.yml and Dockerfile, without Docker: their schema, and what they promise."""

import copy
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
VARIABLE = re.compile(r"\$\{(\w+)")
LOOPBACK = ("127.0.0.1", "::1")


def validate(file: Path) -> subprocess.CompletedProcess[str]:
    """Check a file against the schema of compose files in check-jsonschema."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    return subprocess.run([*command, file], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_compose_file_follows_the_schema() -> None:
    done = validate(ROOT / "docker-compose.yml")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_schema_refuses_a_spelling_mistake(tmp_path: Path) -> None:
    wrong = copy.deepcopy(COMPOSE)
    wrong["services"]["database"]["helthcheck"] = wrong["services"]["database"].pop("healthcheck")
    file = tmp_path / "docker-compose.yml"
    file.write_text(yaml.safe_dump(wrong))
    assert validate(file).returncode == 1


# Violations of promises; each check is also run on a file that breaks its promise.


def published(compose: Any) -> Iterator[str]:
    """Ports that other machines can reach."""
    for name, service in compose["services"].items():
        if service.get("network_mode") == "host":
            yield f"{name}: network_mode"
        for port in service.get("ports", ()):
            host = port.get("host_ip") if isinstance(port, dict) else str(port).rpartition(":")[0]
            if not str(host).startswith(LOOPBACK):
                yield f"{name}: {port}"


def inline_secrets(compose: Any) -> Iterator[str]:
    """Passwords in the file instead of in `.env`."""
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            in_url = re.search(r"://[^:/@]*:([^@]*)@", str(value))
            secret = in_url[1] if in_url else str(value) if "PASSWORD" in variable else ""
            if secret and not re.fullmatch(r"\$\{\w+:\?[^}]*\}", secret):
                yield f"{name}: {variable}"


def privileged(compose: Any) -> Iterator[str]:
    """Services with more rights on the host than an ordinary user."""
    for name, service in compose["services"].items():
        if service.get("privileged") or "cap_add" in service or "user" in service:
            yield name
        if "build" in service and "no-new-privileges:true" not in service.get("security_opt", ()):
            yield name


def premature(compose: Any) -> Iterator[str]:
    """Services that may start before the database answers or has its tables."""
    services = compose["services"]
    if "healthcheck" not in services["database"]:
        yield "database"
    for name, service in services.items():
        waits_for = service.get("depends_on", {})
        if name == "migration":
            ready = waits_for == {"database": {"condition": "service_healthy"}}
        else:
            condition = {"condition": "service_completed_successfully"}
            ready = name == "database" or waits_for.get("migration") == condition
        if not ready:
            yield name


def breaking(*path: str, value: Any) -> Any:
    """The compose file with one value changed."""
    changed = copy.deepcopy(COMPOSE)
    inner = changed["services"]
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


@pytest.mark.parametrize(
    ("problems", "broken"),
    [
        (published, breaking("database", "ports", value=["5432:5432"])),
        (published, breaking("database", "ports", value=[{"target": 5432, "published": 5432}])),
        (published, breaking("worker", "network_mode", value="host")),
        (inline_secrets, breaking("database", "environment", "POSTGRES_PASSWORD", value="x")),
        (inline_secrets, breaking("worker", "environment", "TUNER_DATABASE_URL",
                                  value="postgresql://tuner:x@database/tuner")),
        (privileged, breaking("worker", "user", value="root")),
        (privileged, breaking("gpu-worker", "privileged", value=True)),
        (premature, breaking("worker", "depends_on", value={"database": {}})),
        (premature, breaking("migration", "depends_on", value=["database"])),
    ],
)  # fmt: skip
def test_promises(problems: Callable[[Any], Iterator[str]], broken: Any) -> None:
    assert list(problems(COMPOSE)) == []
    assert list(problems(broken)) != []


def test_the_gpu_worker_reserves_gpus_and_starts_only_on_request() -> None:
    worker = COMPOSE["services"]["gpu-worker"]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert worker["profiles"] == ["gpu"]
    started = {name for name, service in COMPOSE["services"].items() if "profiles" not in service}
    assert started == {"database", "migration", "worker"}


def test_the_database_survives_its_container() -> None:
    volumes = COMPOSE["services"]["database"]["volumes"]
    assert any(volume.split(":")[0] in COMPOSE["volumes"] for volume in volumes)


def test_the_example_names_every_variable_and_no_password() -> None:
    values = dict(line.split("=", 1) for line in EXAMPLE.splitlines() if line[:1] not in ("", "#"))
    assert set(values) == set(VARIABLE.findall(json.dumps(COMPOSE)))
    assert values["POSTGRES_PASSWORD"] == ""
    for file in (".gitignore", ".dockerignore"):
        assert ".env" in (ROOT / file).read_text().splitlines()


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} +(.*)$", DOCKERFILE, re.MULTILINE)


def test_the_image_runs_as_an_ordinary_user() -> None:
    last_stage = DOCKERFILE.rpartition("\nFROM ")[2]
    (user,) = re.findall(r"^USER +(\S+)$", last_stage, re.MULTILINE)
    assert user not in ("root", "0")
    assert f"useradd --uid 10001 --create-home {user}" in last_stage
    assert not re.search("(PASSWORD|SECRET|TOKEN)", DOCKERFILE)


def test_the_image_is_small_and_pinned() -> None:
    *_, build, final = instructions("FROM")
    assert build.split()[-2:] == ["AS", "build"]
    assert "-slim" in final
    assert instructions("COPY")[-1].startswith("--from=build ")  # no compiler, cache or source
    for install in re.findall(r"pip install (.*)", DOCKERFILE)[1:]:  # the first is pip's own pin
        assert "--constraint constraints.txt" in install


@pytest.mark.slow
def test_what_the_image_copies_is_enough_to_build_it(tmp_path: Path) -> None:
    copied = [line.split()[:-1] for line in instructions("COPY") if "--from" not in line]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for name in (name for names in copied for name in names):
        assert name not in ignored
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path)
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "-w", "wheels"]
    command = [sys.executable, "-m", "pip", "wheel", ".", *offline]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "wheels").glob("tuner-*.whl")
    contents = zipfile.ZipFile(wheel).namelist()
    assert "tuner/cli/app.py" in contents
    assert any(name.startswith("tuner/migrations/versions/0001") for name in contents)
