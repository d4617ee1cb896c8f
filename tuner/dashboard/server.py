"""The dashboard's process: where it listens, and how it ends."""

import logging
import socket
import threading
import webbrowser

import uvicorn

from tuner import commands
from tuner.dashboard.app import create_app
from tuner.dashboard.context import Board
from tuner.errors import BadInputError
from tuner.settings import Settings

GRACE = 2  # seconds that open streams have when the server is to end

_log = logging.getLogger(__name__)


def serve(settings: Settings, *, port: int, browser: bool) -> None:
    """Serve on this machine's loopback until stopped; with `browser`, open it there."""
    listening = _listening(port)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    database = commands.open_database(settings)
    try:
        config = uvicorn.Config(
            create_app(Board(database, settings)),
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=GRACE,
        )
        print(f"dashboard at {address}; Ctrl-C ends it", flush=True)
        if browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        database.close()


def _listening(port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(("127.0.0.1", port))
    except OSError as error:
        found.close()
        raise BadInputError(
            f"port {port} cannot be listened on ({error.strerror or error}); "
            "`--port` names another one"
        ) from error
    found.listen(128)
    return found
