"""Renew `docs/search.md`: its pictures and tables, from what was measured before.

python -m benchmarks.search.page
python -m benchmarks.search.page --any-version    # results of other code as well
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from benchmarks.search import tables
from benchmarks.search.environment import ROOT
from benchmarks.search.figures import model, progress, rungs
from benchmarks.search.report import report
from benchmarks.search.store import Store
from benchmarks.search.suites import SUITES

PAGE = ROOT / "docs" / "search.md"
IMAGES = ROOT / "docs" / "images"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"


def results(store: Store, seeds: int) -> Iterator[str]:
    """Yield the lines of all suites that were measured, in full or in part."""
    for suite in SUITES.values():
        for workers in suite.workers:
            runs = store.select(suite.studies(seeds, workers))
            if any(study.method == suite.default for study in runs):
                yield from report(suite, runs, workers)


def replaced(page: str, lines: list[str]) -> str:
    """Return the page with other results between its marks."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return "\n".join([head + BEGIN, "", *lines, END]) + tail


def main() -> None:
    """Renew it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--results", type=Path, default=tables.CACHE / "results.jsonl")
    parser.add_argument("--any-version", action="store_true")
    options = parser.parse_args()
    store = Store(options.results, any_version=options.any_version)
    progress(store, options.seeds).write(IMAGES / "search-progress.svg")
    rungs().write(IMAGES / "search-rungs.svg")
    model().write(IMAGES / "search-model.svg")
    page = replaced(PAGE.read_text(encoding="utf-8"), [*results(store, options.seeds)])
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
