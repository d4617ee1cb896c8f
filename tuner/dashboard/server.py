"""The dashboard's process: where it may listen, under which names, and how it ends.

On this machine's loopback it needs no accounts: the printed address carries its owner's secret
(`local_secret.py`). Beyond the loopback it starts only with HTTPS (its own certificate, or a proxy
in front that has one) and with an account that can log in.
"""

import asyncio
import ipaddress
import socket
import ssl
import threading
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import uvicorn

from tuner import files
from tuner.dashboard import local_secret
from tuner.dashboard.app import LOOPBACK, create_app
from tuner.dashboard.board import Access, Board
from tuner.dashboard.security.connections import Limits, Listener, protocol_of, raise_file_limit
from tuner.database import accounts, schema
from tuner.database.engine import Database
from tuner.errors import BadInputError
from tuner.settings import Settings
from tuner.study_file.messages import quoted

LOCAL_PROXIES = ("127.0.0.1", "::1")
GRACE = 2  # seconds for open streams to end when the server shuts down


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen, and who can reach it."""

    host: str = "127.0.0.1"
    port: int = 0  # 0: any free one
    names: Sequence[str] = ()  # further host names that browsers use
    certificate: Path | None = None
    key: Path | None = None
    behind_tls: bool = False  # a proxy in front speaks HTTPS
    proxies: Sequence[str] = ()  # its addresses or networks, beyond this machine's loopback
    login: bool = False  # require accounts even on the loopback

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            is_loopback = ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            is_loopback = self.host == "localhost"
        return is_loopback and not self.behind_tls and not self.names

    @property
    def access(self) -> Access:
        """Whether it needs accounts, and has HTTPS."""
        tls = self.behind_tls or self.certificate is not None
        return Access(login=self.login or not self.is_loopback, tls=tls)

    def address(self, port: int) -> str:
        """The URL for a browser on this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        host = f"[{host}]" if ":" in host else host
        return f"{'http' if self.certificate is None else 'https'}://{host}:{port}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host names that it answers to."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (*LOOPBACK, host, *self.names)


class _Uvicorn(uvicorn.Server):
    """Ends the pages' streams first; it would wait for them otherwise."""

    def __init__(self, config: uvicorn.Config, board: Board) -> None:
        super().__init__(config)
        self._board = board

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await asyncio.to_thread(self._board.stream.close)
        await super().shutdown(sockets)


class Server:
    """A dashboard in this process."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        place: Place,
        limits: Limits = Limits(),  # noqa: B008 - is frozen
    ) -> None:
        """Check the place and take the port; BadInputError if that fails."""
        _check(database, place)
        proxies = [*LOCAL_PROXIES, *place.proxies] if place.behind_tls else []
        self._listener = Listener(_listen(place), limits, proxies=proxies)
        self.address = place.address(self._listener.getsockname()[1])
        secret = local_secret.load(settings.home)
        self.board = Board(database, settings, replace(place.access, secret=secret))
        # the secret opens no dashboard with accounts
        self.login_url = self.address if place.access.login else secret.in_address(self.address)
        self._home = settings.home
        config = uvicorn.Config(
            create_app(self.board, hosts=place.hosts, is_proxied=place.behind_tls),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=place.behind_tls,
            forwarded_allow_ips=proxies,
            http=protocol_of(self._listener),
            ws="none",
            timeout_keep_alive=limits.idle,
            ssl_certfile=place.certificate,
            ssl_keyfile=place.key,
            timeout_graceful_shutdown=GRACE,
        )
        self._server = _Uvicorn(config, self.board)

    def run(self) -> None:
        """Serve until stopped by a signal."""
        with local_secret.announce(self._home, self.address):
            self._server.run(sockets=[self._listener])

    def stop(self) -> None:
        """Stop it from another thread."""
        self._server.should_exit = True


def serve(
    settings: Settings, place: Place, *, browser: bool, on_start: Callable[[str, bool], None]
) -> None:
    """Serve until stopped, unless this home's dashboard runs at that port already.

    `on_start` gets the URL that logs in, and whether this process serves it; `browser` opens it.
    """
    if place.port and local_secret.is_running(settings.home, place.address(place.port)):
        address = place.address(place.port)
        secret = None if place.access.login else local_secret.load(settings.home)
        on_start(address if secret is None else secret.in_address(address), False)
        if browser:
            webbrowser.open(_for_browser(settings.home, secret, address))
        return
    raise_file_limit()
    database = schema.open_database(settings)
    try:
        server = Server(database, settings, place)
        on_start(server.login_url, True)
        if browser:
            secret = None if place.access.login else server.board.access.secret
            url = _for_browser(settings.home, secret, server.address)
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        server.run()
    finally:
        database.close()


def _for_browser(home: Path, secret: local_secret.Secret | None, address: str) -> str:
    """The URL to start a browser with; its command line must not carry the secret."""
    return address if secret is None else local_secret.page_for_browser(home, secret, address)


def _check(database: Database, place: Place) -> None:
    if place.key is not None and place.certificate is None:
        raise BadInputError("--key: needs `--certificate`, which is missing")
    if place.proxies and not place.behind_tls:
        raise BadInputError("--proxy: needs `--behind-tls`, which is missing")
    for text in place.proxies:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            raise BadInputError(
                f"--proxy: {quoted(text)} is not an IP address or network such as 10.0.0.5 or "
                "10.0.0.0/24"
            ) from None
    if place.behind_tls and not place.names:
        raise BadInputError(
            "--behind-tls: needs the host name that browsers use, such as "
            "`--host-name tuner.example.org`"
        )
    if not place.access.login:
        return
    if not place.access.tls and not place.is_loopback:
        raise BadInputError(
            f"beyond this machine ({place.host}) passwords need HTTPS: pass `--certificate` and "
            "`--key`, or `--behind-tls` if a proxy in front has them"
        )
    with database.statement() as connection:
        if not any(account.role == "admin" for account in accounts.list_all(connection)):
            raise BadInputError(
                "no admin can log in: add an account first with `tuner user add NAME --role admin`"
            )


def _listen(place: Place) -> socket.socket:
    if place.certificate is not None:
        _check_certificate(place.certificate, place.key)
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind)
    except OSError as error:
        raise BadInputError(f"--host: {place.host} is not an address of this machine") from error
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise BadInputError(
            f"cannot listen on {place.host}:{place.port} ({error.strerror or error}); "
            "choose another port with `--port`"
        ) from error
    return listening


def _check_certificate(certificate: Path, key: Path | None) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        paths = files.shown(certificate) + (f", {files.shown(key)}" if key else "")
        reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise BadInputError(f"--certificate: cannot use {paths} ({reason or error})") from error
