"""Where the dashboard may listen, and what that needs."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from tests.support.accounts import NOBODY, python_of_nobody
from tests.support.commands import tuner
from tests.support.waiting import STUCK
from tuner import accounts
from tuner.accounts import Role
from tuner.dashboard import local_secret
from tuner.dashboard.server import Place, Server
from tuner.database.engine import Database, masked
from tuner.errors import BadInputError
from tuner.settings import Settings


@pytest.mark.parametrize(
    ("place", "is_loopback"),
    [
        (Place(), True),
        (Place(host="localhost"), True),
        (Place(host="::1"), True),
        (Place(host="127.0.0.2"), True),
        (Place(host="0.0.0.0"), False),
        (Place(host="tuner.example.org"), False),
        (Place(behind_tls=True), False),
        (Place(names=["tuner.example.org"]), False),
    ],
)
def test_only_who_is_reached_by_nobody_else_asks_for_no_login(
    place: Place, is_loopback: bool
) -> None:
    assert place.is_loopback == is_loopback
    assert place.access.login != is_loopback


def test_beyond_this_machine_it_needs_https_and_somebody_to_log_in(
    database: Database, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path)
    with pytest.raises(BadInputError, match="need HTTPS"):
        Server(database, settings, Place(host="0.0.0.0"))
    proxied = Place(behind_tls=True, names=["tuner.example.org"])
    with pytest.raises(BadInputError, match="tuner user add NAME --role admin"):
        Server(database, settings, proxied)
    with pytest.raises(BadInputError, match="such as `--host-name tuner"):
        Server(database, settings, Place(behind_tls=True))
    with pytest.raises(BadInputError, match="--proxy: needs `--behind-tls`"):
        Server(database, settings, Place(proxies=["10.0.0.1"]))
    with pytest.raises(BadInputError, match="`nginx` is not an IP address or network"):
        Server(database, settings, replace(proxied, proxies=["nginx"]))
    accounts.add(database, "eve", "a long enough password", Role.VIEWER)
    with pytest.raises(BadInputError, match="no admin can log in"):
        Server(database, settings, Place(login=True))
    with pytest.raises(BadInputError, match="--key: needs `--certificate`"):
        Server(database, settings, Place(key=tmp_path))
    with pytest.raises(BadInputError, match=r"cannot use .*none\.pem"):
        accounts.change(database, "eve", role=Role.ADMIN)
        Server(database, settings, Place(certificate=tmp_path / "none.pem"))


def test_a_taken_port_is_told(database: Database, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    first = Server(database, settings, Place())
    port = int(first.address.rsplit(":", 1)[1])
    with pytest.raises(BadInputError, match="choose another port with `--port`"):
        Server(database, settings, Place(port=port))
    thread = threading.Thread(target=first.run)
    thread.start()
    with urllib.request.urlopen(f"{first.address}/healthz") as answer:
        assert json.load(answer) == {"status": "ok"}
    first.stop()
    thread.join(STUCK)
    assert not thread.is_alive()


def test_its_address_is_printed_again_while_it_serves(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        words = ("dashboard", "--no-browser", "--port", str(free.getsockname()[1]))
    first = subprocess.Popen(
        [sys.executable, "-m", "tuner", *words], env=environment, stdout=subprocess.PIPE, text=True
    )
    with first:
        assert first.stdout is not None
        line = first.stdout.readline()
        address = line.removeprefix("dashboard at ").strip()
        assert "/?token=" in address
        again = tuner(*words, environment=environment)
        assert (again.returncode, again.stdout) == (0, line)
        other = tuner(*words, environment={**environment, "TUNER_HOME": str(tmp_path / "other")})
        assert other.returncode == 2
        assert "cannot listen on" in other.stderr
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(f"{address.partition('/?')[0]}/studies") as stranger:
            assert "Log in" in stranger.read().decode()
        with opener.open(address) as owner:
            assert owner.url.endswith("/studies")
        first.terminate()
    assert first.returncode == 128 + signal.SIGTERM


# what another account of the machine tries: the API, a change, and the file of the secret
STRANGER = """
import sys, urllib.error, urllib.request
address, secret = sys.argv[1:]
for path, body in (("/api/v1/studies", None), ("/studies/1/pause", b""), ("/metrics", None)):
    try:
        print(urllib.request.urlopen(address + path, body).url)
    except urllib.error.HTTPError as error:
        print(error.code)
try:
    print(open(secret).read())
except PermissionError:
    print("private")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run programs as somebody else")
def test_another_account_of_the_machine_gets_nowhere(database: Database, home: Path) -> None:
    server = Server(database, Settings(home=home), Place())
    secret = home / local_secret.FOLDER / "secret"
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        outcome = subprocess.run(
            [python_of_nobody(), "-I", "-c", STRANGER, server.address, str(secret)],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            cwd="/",
            env={},
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        server.stop()
        thread.join()
    assert secret.read_text()
    api, change, metrics, file = outcome.stdout.split()
    assert (api, metrics, file) == ("401", "401", "private")
    assert "/login" in change


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:SECRET@h/d",
        "postgresql://u@h/d?password=SECRET",
        "postgresql://u:SECRET@h/d?sslpassword=SECRET&password=SECRET&connect_timeout=3",
    ],
)
def test_no_secret_of_a_url_is_shown(url: str) -> None:
    text = masked(make_url(url))
    assert "SECRET" not in text
    assert "***" in text
    assert text.startswith("postgresql://u")


def test_accounts_and_tokens_from_the_command_line(environment: dict[str, str]) -> None:
    def run(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        return tuner(*words, environment=environment, typed=typed)

    assert run("user", "add", "ada", "--role", "admin", typed="a long enough password\n").stdout
    again = run("user", "add", "ada", typed="a long enough password\n")
    assert (again.returncode, again.stderr) == (
        2,
        "error: there is an account named `ada` already\n",
    )
    secret = run("token", "create", "ada", "--name", "ci", "--role", "viewer").stdout.strip()
    assert secret.startswith("tuner_")
    (token,) = json.loads(run("token", "list", "--json").stdout)
    assert (token["account"], token["name"], token["role"]) == ("ada", "ci", "viewer")
    assert secret not in json.dumps(token)
    assert run("token", "revoke", str(token["id"])).returncode == 0
