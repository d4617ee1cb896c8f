"""Who may use the dashboard beyond one's own machine: accounts, sessions and tokens.

Passwords are hashed with argon2id (RFC 9106, the parameters of argon2-cffi); sessions and tokens
are random secrets of which the database holds the digest alone.
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
TOKEN_PREFIX = "tuner_"  # noqa: S105 - so that a secret that leaked is recognized as ours

_hasher = argon2.PasswordHasher()
_one_at_a_time = threading.Lock()  # a hash takes 64 MiB
_nobody: list[str] = []  # the hash that a wrong name is compared with


class Role(IntEnum):
    """What somebody may do; each role may do all that those below it may."""

    VIEWER = 1  # look
    OPERATOR = 2  # launch, steer and export studies
    ADMIN = 3  # delete studies, see who did what

    @classmethod
    def named(cls, name: str) -> "Role":
        """The role of that name; AccountError if there is none."""
        try:
            return cls[name.upper()]
        except KeyError:
            raise AccountError(f"a role is viewer, operator or admin, not {quoted(name)}") from None

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class User:
    """Who asks."""

    name: str
    role: Role
    secret: str | None = None  # of the session, where there is one


def add(database: Database, name: str, password: str, role: Role) -> None:
    """Add an account; AccountError where name or password cannot be used, or the name is taken."""
    _check_name(name)
    hashed = _hashed(password)
    with database.transaction() as connection:
        accounts.add(connection, name, hashed, str(role))


def change(
    database: Database, name: str, *, password: str | None = None, role: Role | None = None
) -> None:
    """Change password or role; a new password ends all sessions and tokens of the account."""
    hashed = None if password is None else _hashed(password)
    with database.transaction() as connection:
        account = accounts.find(connection, name)
        if account is None:
            raise _unknown(name)
        if hashed is not None:
            accounts.set_password(connection, account.id, hashed)
        if role is not None:
            accounts.set_role(connection, account.id, str(role))


def remove(database: Database, name: str) -> None:
    """Remove an account with its sessions and tokens."""
    with database.transaction() as connection:
        account = accounts.find(connection, name)
        if account is None:
            raise _unknown(name)
        accounts.remove(connection, account.id)


def log_in(database: Database, name: str, password: str) -> str:
    """The secret of a new session; AccountError, the same and as slow, for any wrong pair."""
    with database.statement() as connection:
        account = accounts.find(connection, name) if _is_storable(name) else None
    with _one_at_a_time:
        if account is None and not _nobody:
            _nobody.append(_hasher.hash(secrets.token_hex()))
        try:
            _hasher.verify(_nobody[0] if account is None else account.password, password)
            is_right = account is not None
        except (argon2.exceptions.VerifyMismatchError, argon2.exceptions.InvalidHashError):
            is_right = False
    if account is None or not is_right:
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
    """A secret for a program that may do what the account may, or less; shown this once."""
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    with database.transaction() as connection:
        account = accounts.find(connection, account_name)
        if account is None:
            raise _unknown(account_name)
        own = Role.named(account.role)
        if role is not None and role > own:
            raise AccountError(f"{quoted(account_name)} is {own} itself, so no token can be {role}")
        accounts.grant(
            connection,
            account.id,
            "api",
            name=name,
            digest=_digest(secret),
            role=str(role or own),
            seconds=days * 86_400,
        )
    return secret


def user_of(database: Database, secret: str) -> tuple[User, accounts.Kind] | None:
    """Whom a session's or token's secret stands for; None if it is wrong, old or revoked."""
    with database.statement() as connection:
        holder = accounts.holder(connection, _digest(secret))
    if holder is None:
        return None
    role = min(Role.named(holder.account_role), Role.named(holder.role))
    if holder.kind == "session":
        role = Role.named(holder.account_role)  # raised or lowered since the login
    return User(holder.name, role, secret), holder.kind


def _digest(secret: str) -> str:
    """A digest without salt is enough: the secret is random, and nobody can try them all."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _hashed(password: str) -> str:
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


def _unknown(name: str) -> AccountError:
    return AccountError(f"there is no account named {quoted(name)}; `tuner user list` shows them")
