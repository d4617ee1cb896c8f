"""Who may use the dashboard: `user` and `token`."""

import sys

import typer

from tuner.cli.output import AsJson, err, moment, opened, out, print_json, shown, table
from tuner.errors import AccountError

MAX_DAYS = 3_650

UserName = typer.Argument(help="The account's name.", show_default=False)
RoleName = typer.Option("viewer", "--role", help="viewer, operator or admin.")
users = typer.Typer(help="Accounts of the dashboard.", no_args_is_help=True)
tokens = typer.Typer(help="Tokens of programs that use the REST API.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(users, name="user", rich_help_panel="Dashboard")
    app.add_typer(tokens, name="token", rich_help_panel="Dashboard")


@users.command("add")
def add_user(name: str = UserName, role: str = RoleName) -> None:
    """Add an account; asks for its password, or reads it as a line from standard input."""
    from tuner import accounts  # with argon2

    chosen = accounts.Role.named(role)
    password = _password()
    with opened() as (_, database):
        accounts.add(database, name, password, chosen)
    out.print(f"added {shown(name)}, who is {chosen}")


@users.command("change")
def change_user(
    name: str = UserName,
    role: str | None = typer.Option(None, "--role", help="viewer, operator or admin."),
    password: bool = typer.Option(
        False, "--password", help="Ask for a new one; it ends sessions and tokens."
    ),
) -> None:
    """Change what an account may do, or its password."""
    from tuner import accounts

    if role is None and not password:
        raise AccountError("nothing to change: `--role` or `--password` says what")
    chosen = None if role is None else accounts.Role.named(role)
    new = _password() if password else None
    with opened() as (_, database):
        accounts.change(database, name, password=new, role=chosen)
    out.print(f"changed {shown(name)}")


@users.command("remove")
def remove_user(name: str = UserName) -> None:
    """Remove an account with its sessions and tokens."""
    from tuner import accounts

    with opened() as (_, database):
        accounts.remove(database, name)
    out.print(f"removed {shown(name)}")


@users.command("list")
def list_users(as_json: bool = AsJson) -> None:
    """List the accounts."""
    from tuner.database import accounts

    with opened() as (_, database), database.statement() as connection:
        found = accounts.list_all(connection)
    if as_json:
        print_json([{"name": a.name, "role": a.role, "created_at": a.created_at} for a in found])
        return
    made = table("account", "role", "created")
    for account in found:
        made.add_row(shown(account.name), account.role, moment(account.created_at))
    out.print(made)


@tokens.command("create")
def create_token(
    account: str = UserName,
    name: str = typer.Option("token", "--name", help="What it is for."),
    role: str | None = typer.Option(None, "--role", help="Less than the account may do."),
    days: float = typer.Option(90, "--days", min=0.01, max=MAX_DAYS, help="Until it expires."),
) -> None:
    """Print a new token that stands for an account; it is shown this once."""
    from tuner import accounts

    chosen = None if role is None else accounts.Role.named(role)
    with opened() as (_, database):
        secret = accounts.create_token(database, account, name=name, role=chosen, days=days)
    typer.echo(secret)
    err.print("[dim]programs send it as the header `Authorization: Bearer …`[/]")


@tokens.command("list")
def list_tokens(as_json: bool = AsJson) -> None:
    """List the tokens that are valid, without their secrets."""
    from tuner.database import accounts

    with opened() as (_, database), database.statement() as connection:
        found = accounts.tokens(connection)
    if as_json:
        print_json(found)
        return
    made = table("id", "account", "for", "role", "expires", "last used")
    for one in found:
        made.add_row(
            str(one.id),
            shown(one.account),
            shown(one.name),
            one.role,
            moment(one.expires_at),
            moment(one.used_at),
        )
    out.print(made)


@tokens.command("revoke")
def revoke_token(number: int = typer.Argument(help="Its id, as `list` shows it.")) -> None:
    """End a token at once."""
    from tuner.database import accounts

    with opened() as (_, database), database.statement() as connection:
        if not accounts.revoke_token(connection, number):
            raise AccountError(f"there is no token {number}; `tuner token list` shows them")
    out.print(f"revoked token {number}")


def _password() -> str:
    """Asked for twice at a terminal; a line of standard input elsewhere."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    given: str = typer.prompt("password", hide_input=True, confirmation_prompt=True, err=True)
    return given
