"""Lighthouse scores of the dashboard's pages, for a study of 5,000 trials with 20 reports each.

Needs Node.js and Chromium. `npx` fetches Lighthouse from npm, unless `--lighthouse` names an
installed one. Prints a table.

    python -m benchmarks.lighthouse
    python -m benchmarks.lighthouse --only compare fleet

The preset is `desktop`, without simulated network latency or a slower processor (`provided`): the
scores are those of this machine.

Not measured: a phone over a slow network, where a page with figures waits for half a megabyte.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.dashboard import Bench

SIZE = 5_000
CATEGORIES = ("performance", "accessibility", "best-practices")
METRICS = {
    "first-contentful-paint": "first paint s",
    "largest-contentful-paint": "largest paint s",
    "total-blocking-time": "blocked ms",
    "cumulative-layout-shift": "layout shift",
}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def pages(study: int) -> dict[str, str]:
    """Name → path."""
    return {
        "studies": "/studies",
        "study": f"/studies/{study}/overview",
        "analyse": f"/studies/{study}/analyse",
        "trials": f"/studies/{study}/trials",
        "trial": f"/studies/{study}/trials/7",
        "compare": f"/compare?studies={study}",
        "fleet": "/fleet",
        "launch": "/launch",
        "export": f"/studies/{study}/export",
    }


def audit(command: Sequence[str], address: str, aside: Path) -> dict[str, Any]:
    """Lighthouse's report of one page."""
    wanted = aside / "report.json"
    subprocess.run(
        [
            *command,
            address,
            "--quiet",
            "--output=json",
            f"--output-path={wanted}",
            "--preset=desktop",
            "--throttling-method=provided",
            f"--only-categories={','.join(CATEGORIES)}",
            "--chrome-flags=--headless=new --no-sandbox --disable-dev-shm-usage",
        ],
        check=True,
        env={**os.environ, "CHROME_PATH": CHROMIUM or ""},
        stdout=subprocess.DEVNULL,
    )
    report: dict[str, Any] = json.loads(wanted.read_text())
    return report


def wrong(report: dict[str, Any]) -> list[str]:
    """The audits of accessibility and practices that do not pass, each with where."""
    problems = []
    for category in CATEGORIES[1:]:
        for reference in report["categories"][category]["auditRefs"]:
            audit = report["audits"][reference["id"]]
            if reference["weight"] and audit["score"] is not None and audit["score"] < 1:
                items = (audit.get("details") or {}).get("items") or []
                problems.append(f"{audit['title']}: {json.dumps(items)[:400]}")
    return problems


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=list(pages(0)), default=list(pages(0)))
    parser.add_argument("--lighthouse", default="npx --yes lighthouse@12", metavar="COMMAND")
    options = parser.parse_args()
    bench = Bench([SIZE], alone=True)
    aside = Path(tempfile.mkdtemp(prefix="tuner-lighthouse-"))
    rows = []
    try:
        with bench.server("tuner") as (address, _):
            for name in options.only:
                path = pages(bench.ours[SIZE])[name]
                asked = urllib.request.Request(address + path, headers=bench.secret().header)
                urllib.request.urlopen(asked).read()
                visited = bench.secret().in_address(address, path)
                report = audit(shlex.split(options.lighthouse), visited, aside)
                scores = [f"{report['categories'][c]['score']:.2f}" for c in CATEGORIES]
                measured = [report["audits"][m]["numericValue"] for m in METRICS]
                measured = [
                    v / 1000 if n.endswith(" s") else v
                    for v, n in zip(measured, METRICS.values(), strict=True)
                ]
                rows.append([name, *scores, *(f"{v:.3g}" for v in measured)])
                for line in wrong(report):
                    print(f"{name}: {line}", file=sys.stderr, flush=True)
    finally:
        bench.close()
        shutil.rmtree(aside, ignore_errors=True)
    head = ["page", *CATEGORIES, *METRICS.values()]
    print(f"| {' | '.join(head)} |")
    print(f"|---|{'---:|' * (len(head) - 1)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
