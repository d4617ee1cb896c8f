"""Accounts of the dashboard, and what stands for one: sessions of browsers, tokens of programs.

Sessions and tokens are secrets of 256 random bits. Only their digest is stored, so reading the
database does not reveal them. Both expire, and both can be revoked.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import IntegrityError

from tuner.errors import AccountError
from tuner.study_file.messages import quoted

Kind = Literal["session", "api"]

_ADD = text("""
    INSERT INTO tuner.accounts (name, password, role) VALUES (:name, :password, :role) RETURNING id
""")
_FIND = text("SELECT id, name, password, role, created_at FROM tuner.accounts WHERE name = :name")
_LIST_ALL = text("SELECT id, name, password, role, created_at FROM tuner.accounts ORDER BY name")
_SET_PASSWORD = text("UPDATE tuner.accounts SET password = :password WHERE id = :id")
_SET_ROLE = text("UPDATE tuner.accounts SET role = :role WHERE id = :id")
_END_TOKENS = text("DELETE FROM tuner.tokens WHERE account_id = :id")
_REMOVE = text("DELETE FROM tuner.accounts WHERE id = :id")
_GRANT = text("""
    INSERT INTO tuner.tokens (account_id, kind, name, digest, role, expires_at)
    VALUES (:account, :kind, :name, :digest, :role,
            clock_timestamp() + :seconds * interval '1 second')
    RETURNING id
""")
# A token that is used again and again need not be written each time.
_HOLDER = text("""
    WITH used AS (
        UPDATE tuner.tokens SET used_at = clock_timestamp()
        WHERE digest = :digest AND expires_at > clock_timestamp()
          AND (used_at IS NULL OR used_at < clock_timestamp() - interval '1 minute')
    )
    SELECT a.name, a.role AS account_role, t.role, t.kind
    FROM tuner.tokens t JOIN tuner.accounts a ON a.id = t.account_id
    WHERE t.digest = :digest AND t.expires_at > clock_timestamp()
""")
_REVOKE = text("DELETE FROM tuner.tokens WHERE digest = :digest")
_REVOKE_NAMED = text("DELETE FROM tuner.tokens WHERE kind = 'api' AND id = :id RETURNING id")
_TOKENS = text("""
    SELECT t.id, a.name AS account, t.name, t.role, t.created_at, t.expires_at, t.used_at
    FROM tuner.tokens t JOIN tuner.accounts a ON a.id = t.account_id
    WHERE t.kind = 'api' ORDER BY t.id
""")
_FORGET = text("DELETE FROM tuner.tokens WHERE expires_at < clock_timestamp()")


@dataclass(frozen=True, slots=True)
class Account:
    """An account as stored."""

    id: int
    name: str
    password: str  # argon2's text, with its parameters and salt
    role: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Token:
    """A program's token as listed; only its holder knows its secret."""

    id: int
    account: str
    name: str
    role: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Holder:
    """The account that a session or token stands for."""

    name: str
    account_role: str
    role: str  # the most that the token allows
    kind: Kind


def add(connection: Connection, name: str, password: str, role: str) -> int:
    """Add an account with a hashed password; AccountError if the name is taken."""
    try:
        return int(
            connection.execute(
                _ADD, {"name": name, "password": password, "role": role}
            ).scalar_one()
        )
    except IntegrityError as error:
        if "accounts_name_key" not in str(error.orig):
            raise
        raise AccountError(f"there is an account named {quoted(name)} already") from None


def find(connection: Connection, name: str) -> Account | None:
    """Find the account of that name; None if there is none."""
    row = connection.execute(_FIND, {"name": name}).one_or_none()
    return None if row is None else _account(row)


def list_all(connection: Connection) -> list[Account]:
    """List all accounts, by name."""
    return [_account(row) for row in connection.execute(_LIST_ALL)]


def set_password(connection: Connection, account_id: int, password: str) -> None:
    """Replace the hashed password; ends all sessions and tokens of the account."""
    connection.execute(_SET_PASSWORD, {"id": account_id, "password": password})
    connection.execute(_END_TOKENS, {"id": account_id})


def set_role(connection: Connection, account_id: int, role: str) -> None:
    """Change what the account may do, at once."""
    connection.execute(_SET_ROLE, {"id": account_id, "role": role})


def remove(connection: Connection, account_id: int) -> None:
    """Remove an account with its sessions and tokens."""
    connection.execute(_REMOVE, {"id": account_id})


def grant(
    connection: Connection,
    account_id: int,
    kind: Kind,
    *,
    name: str,
    digest: str,
    role: str,
    seconds: float,
) -> int:
    """Store the digest of a new secret, valid for so many seconds; returns its id."""
    arguments = {
        "account": account_id,
        "kind": kind,
        "name": name,
        "digest": digest,
        "role": role,
        "seconds": seconds,
    }
    return int(connection.execute(_GRANT, arguments).scalar_one())


def holder(connection: Connection, digest: str) -> Holder | None:
    """Find the account behind a secret's digest; None once that has expired or was revoked."""
    row = connection.execute(_HOLDER, {"digest": digest}).one_or_none()
    return None if row is None else Holder(row.name, row.account_role, row.role, row.kind)


def revoke(connection: Connection, digest: str) -> None:
    """Revoke the session or token with this digest."""
    connection.execute(_REVOKE, {"digest": digest})


def revoke_token(connection: Connection, token_id: int) -> bool:
    """Revoke a program's token; False if there is none with that id."""
    return connection.execute(_REVOKE_NAMED, {"id": token_id}).one_or_none() is not None


def tokens(connection: Connection) -> list[Token]:
    """List the programs' tokens, the oldest first."""
    return [Token(*row) for row in connection.execute(_TOKENS)]


def forget(connection: Connection) -> None:
    """Remove sessions and tokens that have expired."""
    connection.execute(_FORGET)


def _account(row: Row[Any]) -> Account:
    return Account(row.id, row.name, row.password, row.role, row.created_at)
