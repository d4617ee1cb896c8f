"""The dashboard's process: where it may listen, under which names, and how it ends.

On this machine's loopback it asks for no accounts: the address that is printed carries a secret of
its owner's (`entrance.py`). Beyond it, it starts only with HTTPS (its own certificate, or a proxy
in front that has one) and with an account that could log in.
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
from tuner.dashboard import entrance
from tuner.dashboard.app import LOOPBACK, create_app
from tuner.dashboard.context import Access, Board
from tuner.dashboard.security.connections import Limits, Listener, protocol_of, raise_file_limit
from tuner.database import accounts, schema
from tuner.database.engine import Database
from tuner.errors import BadInputError
from tuner.settings import Settings
from tuner.study_file.messages import quoted

LOCAL_PROXIES = ("127.0.0.1", "::1")
GRACE = 2  # seconds that open streams have when the server is to end


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen, and who is to reach it."""

    host: str = "127.0.0.1"
    port: int = 0  # 0: any free one
    names: Sequence[str] = ()  # under which browsers ask, beside the host itself
    certificate: Path | None = None
    key: Path | None = None
    behind_tls: bool = False  # a proxy in front speaks HTTPS
    proxies: Sequence[str] = ()  # addresses or networks of it, beside this machine's loopback
    login: bool = False  # ask for accounts even on the loopback

    @property
    def is_loopback(self) -> bool:
        """Whether nobody but this machine reaches it."""
        try:
            alone = ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            alone = self.host == "localhost"
        return alone and not self.behind_tls and not self.names

    @property
    def access(self) -> Access:
        """What follows from it."""
        tls = self.behind_tls or self.certificate is not None
        return Access(login=self.login or not self.is_loopback, tls=tls)

    def address(self, port: int) -> str:
        """Where a browser on this machine finds it."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        host = f"[{host}]" if ":" in host else host
        return f"{'http' if self.certificate is None else 'https'}://{host}:{port}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names that are answered to."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (*LOOPBACK, host, *self.names)


class _Uvicorn(uvicorn.Server):
    """Ends the pages' streams first, for which it would wait otherwise."""

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
        """Checks the place and takes the port; BadInputError where that cannot be."""
        _check(database, place)
        proxies = [*LOCAL_PROXIES, *place.proxies] if place.behind_tls else []
        self._listening = Listener(_listening(place), limits, proxies=proxies)
        self.address = place.address(self._listening.getsockname()[1])
        secret = entrance.load(settings.home)
        self.board = Board(database, settings, replace(place.access, secret=secret))
        # that of a dashboard with accounts lets nobody in
        self.entrance = self.address if place.access.login else secret.in_address(self.address)
        self._home = settings.home
        config = uvicorn.Config(
            create_app(self.board, hosts=place.hosts, is_proxied=place.behind_tls),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=place.behind_tls,
            forwarded_allow_ips=proxies,
            http=protocol_of(self._listening),
            ws="none",
            timeout_keep_alive=limits.idle,
            ssl_certfile=place.certificate,
            ssl_keyfile=place.key,
            timeout_graceful_shutdown=GRACE,
        )
        self._server = _Uvicorn(config, self.board)

    def run(self) -> None:
        """Serve until stopped by a signal."""
        with entrance.announced(self._home, self.address):
            self._server.run(sockets=[self._listening])

    def stop(self) -> None:
        """End it from another thread."""
        self._server.should_exit = True


def serve(
    settings: Settings, place: Place, *, browser: bool, on_start: Callable[[str, bool], None]
) -> None:
    """Serve until stopped, unless this home's dashboard is at that port already.

    `on_start` is told the address that lets in, and whether it is served from now on; `browser`
    opens it.
    """
    if place.port and entrance.running(settings.home, place.address(place.port)):
        address = place.address(place.port)
        secret = None if place.access.login else entrance.load(settings.home)
        on_start(address if secret is None else secret.in_address(address), False)
        if browser:
            webbrowser.open(_for_browser(settings.home, secret, address))
        return
    raise_file_limit()
    database = schema.open_database(settings)
    try:
        server = Server(database, settings, place)
        on_start(server.entrance, True)
        if browser:
            secret = None if place.access.login else server.board.access.secret
            url = _for_browser(settings.home, secret, server.address)
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        server.run()
    finally:
        database.close()


def _for_browser(home: Path, secret: entrance.Secret | None, address: str) -> str:
    """What a browser is started with; its command line is no place for a secret."""
    return address if secret is None else entrance.page_for_browser(home, secret, address)


def _check(database: Database, place: Place) -> None:
    if place.key is not None and place.certificate is None:
        raise BadInputError("--key: belongs to a `--certificate`, which is missing")
    if place.proxies and not place.behind_tls:
        raise BadInputError("--proxy: belongs to `--behind-tls`, which is missing")
    for text in place.proxies:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            raise BadInputError(
                f"--proxy: {quoted(text)} is no IP address or network, as 10.0.0.5 or 10.0.0.0/24"
            ) from None
    if place.behind_tls and not place.names:
        raise BadInputError(
            "--behind-tls: name the host that browsers ask for with `--host-name`, as in "
            "`--host-name tuner.example.org`"
        )
    if not place.access.login:
        return
    if not place.access.tls and not place.is_loopback:
        raise BadInputError(
            f"beyond this machine ({place.host}) passwords need HTTPS: give `--certificate` and "
            "`--key`, or, where a proxy in front has them, `--behind-tls`"
        )
    with database.statement() as connection:
        if not any(account.role == "admin" for account in accounts.list_all(connection)):
            raise BadInputError(
                "nobody could log in: add an account first with `tuner user add NAME --role admin`"
            )


def _listening(place: Place) -> socket.socket:
    if place.certificate is not None:
        _check_certificate(place.certificate, place.key)
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind)
    except OSError as error:
        raise BadInputError(f"--host: {place.host} is no address of this machine") from error
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(address)
        found.listen(128)
    except OSError as error:
        found.close()
        raise BadInputError(
            f"{place.host}:{place.port} cannot be listened on ({error.strerror or error}); "
            "`--port` names another port"
        ) from error
    return found


def _check_certificate(certificate: Path, key: Path | None) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        both = files.shown(certificate) + (f", {files.shown(key)}" if key else "")
        why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise BadInputError(f"--certificate: {both} cannot be used ({why or error})") from error
