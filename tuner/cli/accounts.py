"""Accounts and tokens of the dashboard: `user` and `token`."""

import sys

import typer

from tuner.cli.output import AsJson, err, literal, moment, open_database, out, print_json, table
from tuner.errors import AccountError

MAX_DAYS = 3_650

UserName = typer.Argument(help="The account's name.", show_default=False)
RoleName = typer.Option("viewer", "--role", help="viewer, operator or admin.")
users = typer.Typer(help="Manage the dashboard's accounts.", no_args_is_help=True)
tokens = typer.Typer(help="Manage tokens for programs that use the REST API.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(users, name="user", rich_help_panel="Dashboard")
    app.add_typer(tokens, name="token", rich_help_panel="Dashboard")


@users.command("add")
def add_user(name: str = UserName, role: str = RoleName) -> None:
    """Add an account.

    Asks for its password, or reads it as a line from standard input.
    """
    from tuner import accounts  # with argon2

    chosen = accounts.Role.parse(role)
    password = _password()
    with open_database() as (_, database):
        accounts.add(database, name, password, chosen)
    out.print(f"added {literal(name)} as {chosen}")


@users.command("change")
def change_user(
    name: str = UserName,
    role: str | None = typer.Option(None, "--role", help="viewer, operator or admin."),
    password: bool = typer.Option(
        False, "--password", help="Set a new password; ends its sessions and tokens."
    ),
) -> None:
    """Change an account's role or password."""
    from tuner import accounts

    if role is None and not password:
        raise AccountError("nothing to change; use `--role` or `--password`")
    chosen = None if role is None else accounts.Role.parse(role)
    new = _password() if password else None
    with open_database() as (_, database):
        accounts.change(database, name, password=new, role=chosen)
    out.print(f"changed {literal(name)}")


@users.command("remove")
def remove_user(name: str = UserName) -> None:
    """Remove an account with its sessions and tokens."""
    from tuner import accounts

    with open_database() as (_, database):
        accounts.remove(database, name)
    out.print(f"removed {literal(name)}")


@users.command("list")
def list_users(as_json: bool = AsJson) -> None:
    """List the accounts."""
    from tuner.database import accounts

    with open_database() as (_, database), database.statement() as connection:
        records = accounts.list_all(connection)
    if as_json:
        print_json([{"name": a.name, "role": a.role, "created_at": a.created_at} for a in records])
        return
    listing = table("account", "role", "created")
    for account in records:
        listing.add_row(literal(account.name), account.role, moment(account.created_at))
    out.print(listing)


@tokens.command("create")
def create_token(
    account: str = UserName,
    name: str = typer.Option("token", "--name", help="What the token is for."),
    role: str | None = typer.Option(None, "--role", help="A lower role than the account's."),
    days: float = typer.Option(90, "--days", min=0.01, max=MAX_DAYS, help="Days until it expires."),
) -> None:
    """Create a token for an account and print it; it is shown only once."""
    from tuner import accounts

    chosen = None if role is None else accounts.Role.parse(role)
    with open_database() as (_, database):
        secret = accounts.create_token(database, account, name=name, role=chosen, days=days)
    typer.echo(secret)
    err.print("[dim]send it as the header `Authorization: Bearer …`[/]")


@tokens.command("list")
def list_tokens(as_json: bool = AsJson) -> None:
    """List the valid tokens, without their secrets."""
    from tuner.database import accounts

    with open_database() as (_, database), database.statement() as connection:
        valid = accounts.tokens(connection)
    if as_json:
        print_json(valid)
        return
    listing = table("id", "account", "for", "role", "expires", "last used")
    for token in valid:
        listing.add_row(
            str(token.id),
            literal(token.account),
            literal(token.name),
            token.role,
            moment(token.expires_at),
            moment(token.used_at),
        )
    out.print(listing)


@tokens.command("revoke")
def revoke_token(
    number: int = typer.Argument(help="The token's id, from `tuner token list`."),
) -> None:
    """Revoke a token at once."""
    from tuner.database import accounts

    with open_database() as (_, database), database.statement() as connection:
        if not accounts.revoke_token(connection, number):
            raise AccountError(f"there is no token {number}; `tuner token list` shows them")
    out.print(f"revoked token {number}")


def _password() -> str:
    """Ask twice at a terminal; read one line from standard input elsewhere."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password: str = typer.prompt("password", hide_input=True, confirmation_prompt=True, err=True)
    return password
