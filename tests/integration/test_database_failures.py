"""What PostgreSQL's errors become, SQLSTATE by SQLSTATE, from a real server."""

import re
from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL

from tests.support.commands import tuner
from tests.support.databases import admin, cloned
from tuner.database.engine import Database
from tuner.errors import (
    BadInputError,
    DatabaseError,
    DatabaseFullError,
    DatabaseUnreachableError,
    TunerError,
)

RAISE = "DO $$ BEGIN RAISE EXCEPTION 'for %, SELECT', 'a reason' USING ERRCODE = '{}'; END $$"
ROLE, PASSWORD = "guest_of_tests", "pass-word"


@pytest.mark.parametrize(
    ("code", "kind", "expected"),
    [
        ("08006", DatabaseUnreachableError, "does not answer"),
        ("57P01", DatabaseUnreachableError, "does not answer"),
        ("57P03", DatabaseUnreachableError, "does not answer"),
        ("53300", DatabaseUnreachableError, "does not answer"),
        ("40P01", DatabaseUnreachableError, "does not answer"),
        ("40001", DatabaseUnreachableError, "does not answer"),
        ("25006", DatabaseUnreachableError, "takes no writes now"),
        ("57014", DatabaseUnreachableError, "has ended a statement"),
        ("55P03", DatabaseUnreachableError, "SET lock_timeout"),
        ("25P03", DatabaseUnreachableError, "does not answer"),
        ("58030", DatabaseUnreachableError, "does not answer"),
        ("53200", DatabaseUnreachableError, "lacks resources"),
        ("53400", DatabaseUnreachableError, "lacks resources"),
        ("53100", DatabaseFullError, "has no disk space left"),
        ("42501", BadInputError, "does not allow the role"),
        ("22012", DatabaseError, "reports an error"),
        ("XX000", DatabaseError, "reports an error"),
    ],
)
def test_every_error_is_a_sentence_without_sql(
    database: Database, code: str, kind: type[TunerError], expected: str
) -> None:
    for begin in (database.statement, database.transaction):
        with pytest.raises(TunerError) as raised, begin() as connection:
            connection.execute(text(RAISE.format(code).replace(":", r"\:")))
        assert type(raised.value) is kind
        sentence = str(raised.value)
        assert expected in sentence
        assert "DO $$" not in sentence
        assert "sqlalche" not in sentence
    with database.statement() as connection:  # and goes on
        assert connection.scalar(text("SELECT 1")) == 1


@pytest.fixture
def guest(server: URL) -> Iterator[URL]:
    """A role that may log in, and no more."""
    admin(server, f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
    yield server.set(username=ROLE, password=PASSWORD)
    admin(server, f"DROP OWNED BY {ROLE}", f"DROP ROLE {ROLE}")


def last_line(url: URL, environment: dict[str, str], *words: str) -> str:
    """The sentence of a command that is refused."""
    completed = tuner(
        *words,
        environment={
            **environment,
            "TUNER_DATABASE_URL": url.render_as_string(hide_password=False),
        },
    )
    assert (completed.returncode, completed.stdout) == (2, "")
    assert PASSWORD not in completed.stderr
    (line,) = completed.stderr.splitlines()
    return line


def test_a_missing_privilege_names_its_grant_which_helps(
    server: URL, template: str, empty_url: URL, guest: URL, environment: dict[str, str]
) -> None:
    empty = guest.set(database=empty_url.database)
    for command in (("db", "upgrade"), ("list",)):
        line = last_line(empty, environment, *command)
        (grant,) = re.findall(r"GRANT .*$", line)
        assert grant == f"GRANT CREATE ON DATABASE {empty_url.database} TO {ROLE}"
    admin(server, grant)
    environment["TUNER_DATABASE_URL"] = empty.render_as_string(hide_password=False)
    assert tuner("db", "upgrade", environment=environment).returncode == 0
    admin(empty_url, f"DROP OWNED BY {ROLE}")
    with cloned(server, template) as url:
        theirs = guest.set(database=url.database)
        line = last_line(theirs, environment, "list")
        assert "permission denied for schema tuner" in line
        assert line.endswith(f"GRANT USAGE, CREATE ON SCHEMA tuner TO {ROLE}")
        admin(url, f"GRANT USAGE, CREATE ON SCHEMA tuner TO {ROLE}")
        line = last_line(theirs, environment, "list")
        assert "permission denied for table" in line
        grant = line[line.index("GRANT SELECT") :].partition(" (and")[0]
        admin(url, grant, f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA tuner TO {ROLE}")
        environment["TUNER_DATABASE_URL"] = theirs.render_as_string(hide_password=False)
        assert tuner("list", environment=environment).returncode == 0


def test_a_server_that_became_a_standby_is_asked_anew(database: Database) -> None:
    write = text("CREATE TABLE public.x (y int)")
    with database.statement() as connection:
        first = connection.scalar(text("SELECT pg_backend_pid()"))
        connection.execute(text("SET default_transaction_read_only = on"))
    with (
        pytest.raises(DatabaseUnreachableError, match="takes no writes now"),
        database.statement() as connection,
    ):
        connection.execute(write)
    with database.statement() as connection:  # over another connection, to what is primary now
        assert connection.scalar(text("SELECT pg_backend_pid()")) != first
        connection.execute(write)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_in_another_encoding_is_refused(
    server: URL, environment: dict[str, str], encoding: str
) -> None:
    name = f"encoded_{encoding.lower()}"
    admin(
        server,
        f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C' "
        "TEMPLATE template0",
    )
    try:
        for command in (("db", "upgrade"), ("list",), ("worker", "--until-done")):
            line = last_line(server.set(database=name), environment, *command)
            assert f"is encoded in {encoding}, tuner needs UTF8" in line
    finally:
        admin(server, f"DROP DATABASE {name} WITH (FORCE)")


def test_a_refused_login_counts_as_away_once_it_was_let_in(database_url: URL) -> None:
    database = Database(database_url.set(password="another"))
    with (
        pytest.raises(BadInputError, match="refuses the connection: password authentication"),
        database.statement(),
    ):
        pass
    database.is_patient = True
    with (
        pytest.raises(DatabaseUnreachableError, match="refuses the login: password auth"),
        database.statement(),
    ):
        pass
    database.close()
