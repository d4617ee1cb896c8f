"""A dashboard in this process, and the system's Chromium before it."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.waiting import PATIENCE
from tuner.dashboard.local_secret import QUERY
from tuner.dashboard.server import Place, Server
from tuner.database.engine import Database
from tuner.settings import Settings

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


@contextmanager
def serving(database: Database, home: Path, **place: object) -> Iterator[str]:
    """A dashboard on the loopback; yields the address that lets in."""
    with running(Server(database, Settings(home=home), Place(**place))) as server:  # type: ignore[arg-type]
        yield server.login_url


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """A dashboard while it serves."""
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


@contextmanager
def browsing() -> Iterator[Browser]:
    """Chromium."""
    with sync_playwright() as playwright:
        # in a container it cannot make a sandbox of its own, nor a large /dev/shm be expected
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser, address: str, *, quiet: bool = False, **context: object
) -> Iterator[Page]:
    """A page; unless `quiet`, fails at the end if it has complained, as of a violated policy."""
    browser_context = browser.new_context(base_url=address, **context)  # type: ignore[arg-type]
    if QUERY in address:
        # exchanges the secret for the cookie, which the pages send from then on
        browser_context.request.get(address)
    browser_context.set_default_timeout(1000 * PATIENCE)
    page = browser_context.new_page()
    complaints: list[str] = []
    page.on(
        "console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    browser_context.close()
    # what a test tries on purpose is refused: the browser says so, and htmx; without a GPU it tells
    # of every drawing with WebGL that it took long
    refused = ("responded with a status of 4", "Response Status Error Code 4", "GPU stall")
    unexpected = [line for line in complaints if not any(part in line for part in refused)]
    assert quiet or not unexpected, "\n".join(unexpected)
