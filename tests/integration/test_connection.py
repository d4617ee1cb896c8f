"""What a user reads when the database named in TUNER_DATABASE_URL is not what it should be."""

import socket
from collections.abc import Iterator

import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL

from tests.support.commands import tuner
from tests.support.databases import admin
from tests.support.waiting import eventually
from tuner.database import schema
from tuner.database.engine import Database, connect, parse_url
from tuner.errors import BadInputError, DatabaseUnreachableError
from tuner.settings import Settings

SECRET = "s3cr3t-word"


def with_password(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def refuse(environment: dict[str, str], url: str) -> str:
    """What `tuner db status` says about a URL: one sentence on standard error, exit code 2."""
    completed = tuner("db", "status", environment={**environment, "TUNER_DATABASE_URL": url})
    assert (completed.returncode, completed.stdout) == (2, ""), completed.stderr
    (line,) = completed.stderr.splitlines()
    assert line.startswith("error: ")
    assert SECRET not in line
    return line.removeprefix("error: ")


@pytest.fixture
def nobody_listens() -> Iterator[int]:
    """A TCP port that is taken and refuses connections."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        yield listener.getsockname()[1]


def test_no_server_there(environment: dict[str, str], nobody_listens: int) -> None:
    where = f"127.0.0.1:{nobody_listens}/x"
    line = refuse(environment, f"postgresql://u:{SECRET}@{where}")
    assert line == f"PostgreSQL at {where} does not answer: Connection refused"


def test_no_such_host(environment: dict[str, str]) -> None:
    line = refuse(environment, f"postgresql://u:{SECRET}@no.such.host.invalid/x")
    assert line.startswith("PostgreSQL at no.such.host.invalid:5432/x does not answer: could not")


def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        monkeypatch.setattr("tuner.database.engine.CONNECT_TIMEOUT", 2)  # libpq's least
        settings = Settings(database_url=f"postgresql://u:{SECRET}@127.0.0.1:{port}/x")
        database = connect(settings)
        with pytest.raises(DatabaseUnreachableError, match="timeout expired"):
            schema.check(database)
        database.close()


def test_a_wrong_password(environment: dict[str, str], database_url: URL) -> None:
    line = refuse(environment, with_password(database_url.set(password=SECRET)))
    assert "refuses the connection: password authentication failed for user" in line
    assert line.endswith("; see TUNER_DATABASE_URL")


def test_no_password(environment: dict[str, str], database_url: URL) -> None:
    # libpq would look into ~/.pgpass
    environment["PGPASSFILE"] = "/no/such/file"
    line = refuse(environment, with_password(database_url._replace(password=None)))
    assert "refuses the connection: fe_sendauth: no password supplied" in line


def test_a_database_that_does_not_exist(environment: dict[str, str], server: URL) -> None:
    line = refuse(environment, with_password(server.set(database="no_such_one")))
    assert 'refuses the connection: database "no_such_one" does not exist' in line


def test_a_server_that_is_going_down_is_worth_waiting_for(database: Database) -> None:
    with pytest.raises(DatabaseUnreachableError), database.transaction() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    with database.transaction() as connection:  # and the pool takes another connection
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


@pytest.mark.parametrize(
    "url",
    ["", "hello", f"host=h user=u password={SECRET}", f"postgresql://u:{SECRET}@h:port/x"],
)
def test_not_a_url(environment: dict[str, str], url: str) -> None:
    assert refuse(environment, url) == (
        "TUNER_DATABASE_URL is not a URL; it looks like postgresql://user:password@host/database"
    )


@pytest.mark.parametrize("other", ["mysql", "sqlite", "mysql+pymysql"])
def test_another_kind_of_server(environment: dict[str, str], other: str) -> None:
    line = refuse(environment, f"{other}://u:{SECRET}@h/x")
    assert line.startswith(f"TUNER_DATABASE_URL names a {other.partition('+')[0]} server; tuner")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_spellings_of_a_url(scheme: str) -> None:
    url = parse_url(f"{scheme}://u:{SECRET}@h:5433/x?sslmode=verify-full")
    assert with_password(url) == f"postgresql+psycopg2://u:{SECRET}@h:5433/x?sslmode=verify-full"


def test_a_parse_error_keeps_the_password_to_itself() -> None:
    with pytest.raises(BadInputError) as refused:
        parse_url(f"postgresql://u:{SECRET}@h:{SECRET}/x")
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_connections_are_in_utc_and_named(database: Database) -> None:
    with database.transaction() as connection:
        row = connection.execute(
            text("SELECT current_setting('TimeZone'), current_setting('application_name')")
        ).one()
    assert row[0] == "UTC"
    assert row[1].startswith("tuner ")


def test_a_newer_schema(environment: dict[str, str], database_url: URL) -> None:
    admin(database_url, "UPDATE tuner.schema_version SET version_num = '9999'")
    line = refuse(environment, with_password(database_url))
    assert line == (
        f"the database's schema is version 9999, which this tuner ({schema.newest()}) does not "
        "know: it was made by a newer tuner; install that one or name another database"
    )
    completed = tuner("db", "upgrade", environment=environment)
    assert completed.returncode == 2
    assert "made by a newer tuner" in completed.stderr


def test_a_database_where_tuner_never_was_is_set_up_at_once(empty_url: URL) -> None:
    database = Database(empty_url)
    schema.check(database)
    with database.transaction() as connection:
        assert schema.current(connection) == schema.newest()
    database.close()


def test_reaching_a_database_again(database: Database, database_url: URL) -> None:
    """The pool notices connections that were lost while they were idle."""
    with database.transaction() as connection:
        backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    admin(
        database_url.set(database="postgres"),
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname = '{database_url.database}'",
    )
    eventually(lambda: not psutil.pid_exists(backend))  # it was only asked to end
    with database.transaction() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
