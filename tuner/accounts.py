"""Accounts, sessions and tokens: who may use the dashboard from other machines.

Passwords are hashed with argon2id (RFC 9106, the parameters of argon2-cffi). Sessions and tokens
are random secrets; the database holds only their digests.
"""

import hashlib
import secrets
import threading
from dataclasses import dataclass
from enum import IntEnum

import argon2

from tuner.database import accounts
from tuner.database.engine import Database
from tuner.errors import AccountError
from tuner.study_file.messages import quoted

MIN_PASSWORD = 10  # characters
MAX_PASSWORD = 1_000
NAME_LENGTH = 64
SESSION_SECONDS = 7 * 86_400.0
TOKEN_PREFIX = "tuner_"  # noqa: S105 - leaked secrets are recognizable as ours

_hasher = argon2.PasswordHasher()
_one_at_a_time = threading.Lock()  # a hash takes 64 MiB
_decoy: list[str] = []  # the hash that is verified for unknown names


class Role(IntEnum):
    """What a user may do; each role includes those below it."""

    VIEWER = 1  # see everything
    OPERATOR = 2  # launch, steer and export studies
    ADMIN = 3  # delete studies, read the audit log

    @classmethod
    def parse(cls, name: str) -> "Role":
        """Find the role of that name; AccountError if there is none."""
        try:
            return cls[name.upper()]
        except KeyError:
            raise AccountError(f"a role is viewer, operator or admin, not {quoted(name)}") from None

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class User:
    """The user that a request comes from."""

    name: str
    role: Role
    secret: str | None = None  # of the session, if it has one


def add(database: Database, name: str, password: str, role: Role) -> None:
    """Add an account; AccountError if the name is taken, or name or password cannot be used."""
    _check_name(name)
    hashed = _hash(password)
    with database.transaction() as connection:
        accounts.add(connection, name, hashed, str(role))


def change(
    database: Database, name: str, *, password: str | None = None, role: Role | None = None
) -> None:
    """Change password or role; a new password ends all sessions and tokens of the account."""
    hashed = None if password is None else _hash(password)
    with database.transaction() as connection:
        account = accounts.find(connection, name)
        if account is None:
            raise _unknown_account(name)
        if hashed is not None:
            accounts.set_password(connection, account.id, hashed)
        if role is not None:
            accounts.set_role(connection, account.id, str(role))


def remove(database: Database, name: str) -> None:
    """Remove an account with its sessions and tokens."""
    with database.transaction() as connection:
        account = accounts.find(connection, name)
        if account is None:
            raise _unknown_account(name)
        accounts.remove(connection, account.id)


def log_in(database: Database, name: str, password: str) -> str:
    """Start a session and return its secret.

    AccountError if name or password is wrong; both cases take as long and give the same message.
    """
    with database.statement() as connection:
        account = accounts.find(connection, name) if _is_storable(name) else None
    with _one_at_a_time:
        if account is None and not _decoy:
            _decoy.append(_hasher.hash(secrets.token_hex()))
        try:
            _hasher.verify(_decoy[0] if account is None else account.password, password)
            matches = account is not None
        except (argon2.exceptions.VerifyMismatchError, argon2.exceptions.InvalidHashError):
            matches = False
    if account is None or not matches:
        raise AccountError("name or password is wrong")
    secret = secrets.token_urlsafe(32)
    with database.transaction() as connection:
        accounts.forget(connection)
        accounts.grant(
            connection,
            account.id,
            "session",
            name="browser",
            digest=_digest(secret),
            role=account.role,
            seconds=SESSION_SECONDS,
        )
    return secret


def log_out(database: Database, secret: str) -> None:
    """End a session."""
    with database.statement() as connection:
        accounts.revoke(connection, _digest(secret))


def create_token(
    database: Database, account_name: str, *, name: str, role: Role | None, days: float
) -> str:
    """Create a token for a program, with the account's role or a lower one; returns its secret.

    The secret is not stored, so it cannot be shown again.
    """
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    with database.transaction() as connection:
        account = accounts.find(connection, account_name)
        if account is None:
            raise _unknown_account(account_name)
        account_role = Role.parse(account.role)
        if role is not None and role > account_role:
            raise AccountError(
                f"{quoted(account_name)} is {account_role}, so its tokens cannot be {role}"
            )
        accounts.grant(
            connection,
            account.id,
            "api",
            name=name,
            digest=_digest(secret),
            role=str(role or account_role),
            seconds=days * 86_400,
        )
    return secret


def find_user(database: Database, secret: str) -> tuple[User, accounts.Kind] | None:
    """Find the user of a session's or token's secret; None if it is wrong, expired or revoked."""
    with database.statement() as connection:
        holder = accounts.holder(connection, _digest(secret))
    if holder is None:
        return None
    role = min(Role.parse(holder.account_role), Role.parse(holder.role))
    if holder.kind == "session":
        role = Role.parse(holder.account_role)  # it may have changed since the login
    return User(holder.name, role, secret), holder.kind


def _digest(secret: str) -> str:
    """Hash without salt, which suffices: secrets are random and too many to try."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _hash(password: str) -> str:
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise AccountError(f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters")
    with _one_at_a_time:
        return _hasher.hash(password)


def _check_name(name: str) -> None:
    if not (0 < len(name) <= NAME_LENGTH and name.isprintable() and name == name.strip()):
        raise AccountError(
            f"the name of an account has 1 to {NAME_LENGTH} characters, all visible, and no "
            "spaces around it"
        )


def _is_storable(name: str) -> bool:
    return "\0" not in name and name.isprintable()


def _unknown_account(name: str) -> AccountError:
    return AccountError(f"there is no account named {quoted(name)}; `tuner user list` shows them")
