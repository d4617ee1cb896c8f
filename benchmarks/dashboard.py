"""tuner's dashboard and optuna-dashboard: same PostgreSQL, browser and machine, interleaved.

Studies of 200, 5,000 and 100,000 trials with 20 reports each. Each round starts with a
fresh server and browser profile, so nothing is cached. Prints a table of medians.

    python -m benchmarks.dashboard                       three rounds, about half an hour
    python -m benchmarks.dashboard --rounds 1 --sizes 200 5000

The time to the first plot runs from the start of the navigation until the browser has painted a
mark of a plot; both open the page with the history. Bytes are compressed, as on the network.

Not measured: network latency, and a browser with a GPU.
"""

import argparse
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import optuna
import psutil
from optuna.storages import RDBStorage
from playwright.sync_api import Browser, Page, sync_playwright
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from benchmarks import fill
from tuner.dashboard import local_secret
from tuner.dashboard.security.access import COOKIE
from tuner.database import claims, embedded, hints, results, schema, spaces
from tuner.database.engine import Database
from tuner.search.distributions import as_json, distribution
from tuner.trials import Report, TrialState

SIZES = (200, 5_000, 100_000)
REPORTS = 20
PATIENCE = 150.0  # seconds that a page may take to its first plot
COMMITS = 60  # trials that are committed while a page is open
PERIOD = 0.2  # seconds between them
ASKED = 60  # requests of the API
BIN = Path(sys.executable).parent

# When a mark of a plot is there, two frames later it has been painted
WATCH = """
  window.__longest = 0; window.__first = null; window.__seen = {};
  new PerformanceObserver((list) => list.getEntries().forEach((e) => {
    window.__longest = Math.max(window.__longest, e.duration);
  })).observe({ type: "longtask", buffered: true });
  const look = () => {
    const mark = document.querySelector(
      ".scatterlayer .points path, .scatterlayer .lines path, .gl-canvas-context");
    if (mark) requestAnimationFrame(() => requestAnimationFrame(() => {
      window.__first = performance.now();
    }));
    else setTimeout(look, 5);
  };
  look();
  const note = () => {
    for (const mark of document.querySelectorAll(".tail [data-number]"))
      window.__seen[mark.dataset.number] ??= Date.now();
    requestAnimationFrame(note);
  };
  note();
"""


class Bench:
    """A server of PostgreSQL with studies of both, or of tuner alone."""

    def __init__(self, sizes: list[int], *, alone: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tuner-bench-"))
        self.folder.chmod(0o755)  # root's server runs as another user
        self.hold = embedded.hold(self.folder / "home", linger=0.0)
        self.url = self.hold.url
        self.database = Database(make_url(self.url))
        schema.upgrade(self.database)
        self.ours = {n: fill.shown_study(self.url, f"size {n}", n, REPORTS) for n in sizes}
        self.theirs: dict[int, int] = {}
        if alone:
            return
        self.optuna_url = make_url(self.url).set(database="optuna").render_as_string(False)
        with create_engine(self.url, isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("CREATE DATABASE optuna"))
        for size in sizes:
            fill.optuna_study(self.optuna_url, f"size {size}", size, REPORTS)
            storage = RDBStorage(self.optuna_url)
            self.theirs[size] = storage.get_study_id_from_name(f"size {size}")
            storage.engine.dispose()

    def close(self) -> None:
        """Stop the server and remove all that it has."""
        self.database.close()
        self.hold.release()
        embedded.stop(self.folder / "home", force=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def server(self, contestant: str) -> Iterator[tuple[str, psutil.Process]]:
        """A dashboard that was started anew: its address and its process."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TUNER_")}
        if contestant == "tuner":
            command = [str(BIN / "tuner"), "dashboard", "--no-browser", "--port", str(port)]
            environment |= {
                "TUNER_DATABASE_URL": self.url,
                "TUNER_HOME": str(self.folder / "dashboard"),
            }
        else:
            command = [str(BIN / "optuna-dashboard"), self.optuna_url, "--port", str(port)]
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        address = f"http://127.0.0.1:{port}"
        try:
            _until_up(address)
            yield address, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()

    def secret(self) -> local_secret.Secret:
        """What lets browsers and programs into ours."""
        return local_secret.load(self.folder / "dashboard")

    def page(self, contestant: str, size: int) -> str:
        """The path of the page with the history."""
        if contestant == "tuner":
            return f"/studies/{self.ours[size]}/overview"
        return f"/dashboard/studies/{self.theirs[size]}"

    def commit(self, contestant: str, size: int) -> int:
        """Commit a trial as a worker of each does; its number."""
        value = 0.5 + 0.4 * random.random()
        if contestant == "optuna-dashboard":
            storage = RDBStorage(self.optuna_url)
            study = optuna.load_study(study_name=f"size {size}", storage=storage)
            trial = study.ask({"x0": optuna.distributions.FloatDistribution(0, 1)})
            study.tell(trial, value)
            storage.engine.dispose()
            return trial.number
        study_id = self.ours[size]
        found_space = as_json({n: distribution(p) for n, p in fill.SHOWN.items()})
        with self.database.transaction() as connection:
            claimed = claims.claim(
                connection,
                study_id,
                worker_id=uuid.uuid4(),
                key=uuid.uuid4(),
                lease=60.0,
                space_id=spaces.ensure(connection, study_id, found_space),
                params=[0.001, 0.0001, 0.2, 2, 1, 0],
            )
        assert claimed is not None
        for step in range(1, 4):
            with self.database.statement() as connection:
                results.report(connection, claimed, [Report(step, value)], lease=60.0)
        with self.database.statement() as connection:
            results.finish(connection, claimed, TrialState.COMPLETE, [value])
        return int(claimed.number)

    def hint(self, size: int) -> None:
        """What a worker sends at most four times a second."""
        with self.database.statement() as connection:
            hints.send(connection, hints.TRIALS, [self.ours[size]])


def _until_up(address: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(address, timeout=10)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(address)


@contextmanager
def opened(browser: Browser) -> Iterator[tuple[Page, dict[str, float]]]:
    """A page of a profile without anything cached, and what it takes from the network."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    page.add_init_script(WATCH)
    network = context.new_cdp_session(page)
    network.send("Network.enable")
    taken = {"bytes": 0.0, "requests": 0.0}

    def note(event: dict[str, Any]) -> None:
        taken["bytes"] += event["encodedDataLength"]

    def count(_: object) -> None:
        taken["requests"] += 1

    network.on("Network.loadingFinished", note)
    network.on("Network.requestWillBeSent", count)
    yield page, taken
    context.close()


def cpu(process: psutil.Process) -> float:
    """Seconds that a process has computed."""
    used = process.cpu_times()
    return float(used.user + used.system)


def measure(bench: Bench, browser: Browser, contestant: str, size: int) -> dict[str, float]:
    """One round of one contestant and size."""
    figures: dict[str, float] = {}
    with bench.server(contestant) as (address, process), opened(browser) as (page, taken):
        if contestant == "tuner":  # as after a first visit
            name = f"{COOKIE}_{urlsplit(address).port}"
            cookie = {"name": name, "value": bench.secret().cookie, "url": address}
            page.context.add_cookies([cookie])
        before = cpu(process)
        page.goto(address + bench.page(contestant, size), wait_until="commit")
        deadline = time.monotonic() + PATIENCE
        while not page.evaluate("window.__first"):
            if time.monotonic() > deadline:
                return {"memory MB": process.memory_info().rss / 1e6}
            page.wait_for_timeout(50)
        figures["first plot s"] = page.evaluate("window.__first") / 1000
        page.wait_for_timeout(4000)  # until what follows the first plot is there as well
        figures["first load kB"] = taken["bytes"] / 1000
        figures["requests"] = taken["requests"]
        figures["longest task ms"] = page.evaluate("window.__longest")
        figures["server CPU s"] = cpu(process) - before
        figures |= live(bench, page, contestant, size, process, taken)
        if contestant == "tuner":
            figures["API p95 ms"] = api(address, bench.ours[size], bench.secret().header)
        figures["memory MB"] = process.memory_info().rss / 1e6
    return figures


def live(
    bench: Bench,
    page: Page,
    contestant: str,
    size: int,
    process: psutil.Process,
    taken: dict[str, float],
) -> dict[str, float]:
    """Trials are committed while the page is open: when are they drawn, and what does it cost."""
    before, bytes_before = cpu(process), taken["bytes"]
    if contestant == "optuna-dashboard":
        marks = "document.querySelectorAll('.scatterlayer .points path').length"
        known = page.evaluate(marks)
        start = time.time()
        bench.commit(contestant, size)
        try:
            page.wait_for_function(f"{marks} > {known}", timeout=60_000, polling=20)
        except Exception:
            return {}
        took = time.time() - start
        return {
            "commit to drawn p50 ms": 1000 * took,
            "commit to drawn p95 ms": 1000 * took,
            "CPU per refresh ms": 1000 * (cpu(process) - before),
            "kB per refresh": (taken["bytes"] - bytes_before) / 1000,
        }
    committed: dict[int, float] = {}
    start, hinted = time.monotonic(), 0.0
    for i in range(COMMITS):
        page.wait_for_timeout(max(1000 * (start + i * PERIOD - time.monotonic()), 0))
        number = bench.commit(contestant, size)
        committed[number] = time.time()
        if time.monotonic() - hinted >= 0.25:  # as a worker holds back hints
            bench.hint(size)
            hinted = time.monotonic()
        elif i + 1 == COMMITS:
            bench.hint(size)
    page.wait_for_timeout(5000)
    drawn = page.evaluate("window.__seen")
    waits = sorted(drawn[str(n)] / 1000 - at for n, at in committed.items() if str(n) in drawn)
    if not waits:
        return {"drawn": 0.0}
    return {
        "drawn": len(waits) / len(committed),
        "commit to drawn p50 ms": 1000 * statistics.median(waits),
        "commit to drawn p95 ms": 1000 * waits[int(0.95 * (len(waits) - 1))],
        "CPU per refresh ms": 1000 * (cpu(process) - before) / COMMITS,
        "kB per refresh": (taken["bytes"] - bytes_before) / 1000 / COMMITS,
    }


def api(address: str, study: int, headers: dict[str, str]) -> float:
    """The 95th percentile over windows of the table and figures of filters nobody asked for yet."""
    waits = []
    rng = random.Random(1)
    for i in range(ASKED):
        path = (
            f"table?sort=value&offset={rng.randrange(150)}"
            if i % 2
            else f"figures/history?top={rng.randrange(20, 200)}"
        )
        start = time.perf_counter()
        url = f"{address}/api/v1/studies/{study}/{path}"
        urllib.request.urlopen(urllib.request.Request(url, headers=headers)).read()
        waits.append(1000 * (time.perf_counter() - start))
    return sorted(waits)[int(0.95 * (ASKED - 1))]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--only", choices=["tuner", "optuna-dashboard"])
    options = parser.parse_args()
    contestants = [options.only] if options.only else ["tuner", "optuna-dashboard"]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    bench = Bench(options.sizes, alone=options.only == "tuner")
    results: dict[tuple[str, int], list[dict[str, float]]] = {}
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
            )
            with opened(browser) as (page, _):  # the very first one costs more
                page.goto("data:text/html,<p>ready")
            for _ in range(options.rounds):
                for size in options.sizes:
                    for contestant in contestants:
                        figures = measure(bench, browser, contestant, size)
                        results.setdefault((contestant, size), []).append(figures)
                        print(contestant, size, figures, file=sys.stderr, flush=True)
            browser.close()
    finally:
        bench.close()
    names = list(dict.fromkeys(n for rounds in results.values() for r in rounds for n in r))
    print("| | " + " | ".join(f"{c}, {s:,}" for c, s in results) + " |")
    print("|---|" + "---:|" * len(results))
    for name in names:
        cells = []
        for rounds in results.values():
            values = [r[name] for r in rounds if name in r]
            cells.append(f"{statistics.median(values):,.3g}" if values else "–")
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
