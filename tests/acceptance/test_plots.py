"""A study's figures and table in a browser: what is painted, brushed, sorted and told live."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect
from sqlalchemy.engine import URL

from benchmarks import fill
from tests.support.browsing import needs_chromium, opened, running, serving
from tests.support.databases import cloned
from tests.support.figures import finished_trial
from tests.support.homes import new_home, remove_home
from tests.support.waiting import PATIENCE
from tuner.dashboard.server import Place, Server
from tuner.database.engine import Database
from tuner.figures import theme
from tuner.settings import Settings
from tuner.trials import TrialState

pytestmark = needs_chromium

SIZE = 300
expect.set_options(timeout=1000 * PATIENCE)
DRAWN = re.compile(".")


@dataclass
class Served:
    """A dashboard over a study of `SIZE` trials."""

    address: str
    database: Database
    study: int
    home: Path


@pytest.fixture(scope="module")
def served(server: URL, template: str) -> Iterator[Served]:
    with cloned(server, template) as url:
        study = fill.shown_study(url.render_as_string(hide_password=False), "s", SIZE)
        database, home = Database(url), new_home()
        with serving(database, home) as address:
            yield Served(address, database, study, home)
        database.close()
    remove_home(home)


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    with opened(browser, served.address, viewport={"width": 1300, "height": 1000}) as opened_page:
        yield opened_page


def figure(page: Page, name: str) -> Locator:
    """A figure that has been drawn."""
    locator = page.locator(f"[data-figure={name}]")
    locator.scroll_into_view_if_needed()
    expect(locator).to_have_attribute("data-drawn", DRAWN)
    return locator


def painted(drawing: Locator, colour: str, near: int = 40) -> int:
    """How many pixels are of about this colour."""
    pixels = np.asarray(Image.open(io.BytesIO(drawing.screenshot())).convert("RGB"), dtype=int)
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return int((np.abs(pixels - rgb).sum(axis=2) < near).sum())


def test_figures_are_painted_in_the_colours_of_the_scheme(browser: Browser, served: Served) -> None:
    view = {"width": 1300, "height": 1000}
    for scheme, palette in (("light", theme.LIGHT), ("dark", theme.DARK)):
        with opened(browser, served.address, color_scheme=scheme, viewport=view) as page:
            page.goto(f"/studies/{served.study}/overview")
            for name, colour in (
                ("history", palette.of(TrialState.COMPLETE)),
                ("curves", palette.best),
                ("importance", palette.complete),
                ("burndown", palette.complete),
            ):
                assert painted(figure(page, name).locator(".drawing"), colour) > 150, name


def test_figures_for_analysis_are_painted(page: Page, served: Served) -> None:
    page.goto(f"/studies/{served.study}/analyse")
    # parallel coordinates are WebGL, which a policy could break without a trace in the elements
    for name in ("parallel", "slices", "contour", "heat"):
        drawing = figure(page, name).locator(".drawing")
        assert painted(drawing, theme.LIGHT.scale[3]) > 150, name


def test_a_first_drawing_lets_the_page_work_and_the_next_one_waits(
    page: Page, served: Served
) -> None:
    page.goto(f"/studies/{served.study}/overview")
    figure(page, "history")
    turns, kind = page.evaluate(
        """async () => {
          const { draw, clear } = await import(
            document.querySelector('link[rel=modulepreload][href$="draw.js"]').href);
          const root = document.querySelector("[data-figure=burndown]");
          const box = root.appendChild(document.createElement("div"));
          const payload = (type) => ({
            figure: { data: [{ y: [1, 2] }], layout: { height: 300, yaxis: { type } } } });
          let turns = 0, over = false;
          const { port1, port2 } = new MessageChannel();
          port1.onmessage = () => { turns += 1; if (!over) port2.postMessage(null); };
          port2.postMessage(null);
          const first = draw(box, payload("linear")), second = draw(box, payload("log"));
          await first;
          over = true;
          await second;
          const kind = box._fullLayout.yaxis.type;
          await clear(box);
          box.remove();
          return [turns, kind];
        }"""
    )
    assert turns > 5
    assert kind == "log"


def total(page: Page) -> int:
    text = page.locator("[data-table] .count").first.inner_text()
    match = re.match(r"([\d,]+) trials?", text)
    return int(match[1].replace(",", "")) if match else -1


def drag(
    page: Page, drawing: Locator, start: tuple[float, float], end: tuple[float, float]
) -> None:
    """From and to shares of the plot's area, with the button down."""
    box = drawing.locator(".nsewdrag").first.bounding_box()
    assert box is not None
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*at[0])
    page.mouse.down()
    page.mouse.move((at[0][0] + at[1][0]) / 2, (at[0][1] + at[1][1]) / 2)
    page.mouse.move(*at[1])
    page.mouse.up()


def test_a_brush_filters_the_other_figures_and_the_table(page: Page, served: Served) -> None:
    page.goto(f"/studies/{served.study}/analyse")
    count = page.locator("[data-table] .count")
    expect(count).to_have_text(re.compile(r"\d+ trials"))
    unfiltered = total(page)  # complete ones, as the slices
    assert 0.5 * SIZE < unfiltered < 0.7 * SIZE
    history = figure(page, "history")
    whole = figure(page, "slices").locator(".points path").count()
    history.scroll_into_view_if_needed()
    drag(page, history.locator(".drawing"), (0.02, 0.02), (0.5, 0.6))
    expect(page.locator(".chip")).to_have_count(2)
    expect(count).not_to_have_text(f"{unfiltered} trials")
    chosen = total(page)
    assert 0 < chosen < 0.6 * unfiltered
    few = figure(page, "slices").locator(".points path")
    expect(few).not_to_have_count(whole)
    page.reload()  # the address has it
    expect(count).to_have_text(f"{chosen} trials")
    page.get_by_role("button", name="Clear filters").click()
    expect(count).to_have_text(f"{unfiltered} trials")
    expect(page.locator(".chip")).to_have_count(0)


def test_the_table_scrolls_sorts_filters_and_compares(page: Page, served: Served) -> None:
    page.goto(f"/studies/{served.study}/trials")
    rows = page.locator("[data-table] tbody.rows tr")
    expect(rows.first.locator("a")).to_have_text(str(SIZE - 1))  # the newest first
    assert rows.count() < 60  # only those that are seen
    page.locator(".grid").evaluate("(grid) => { grid.scrollTop = grid.scrollHeight }")
    expect(rows.last.locator("a")).to_have_text("0")
    page.get_by_role("button", name="accuracy").click()
    expect(page.locator("th[aria-sort=descending]")).to_have_text("accuracy")
    sorted_by = rows.locator("td:nth-child(4)")
    expect(sorted_by.filter(has_text="…")).to_have_count(0)  # rows that are still being fetched
    values = [float(t) for t in sorted_by.all_inner_texts()[:10]]
    assert values == sorted(values, reverse=True)
    page.get_by_label("failed").check()
    expect(rows.first).to_contain_text("diverged")
    count = total(page)
    assert 0 < count < SIZE / 5
    assert "state=failed" in str(page.get_by_role("link", name="CSV").get_attribute("href"))
    for row in (0, 1):
        rows.nth(row).get_by_role("checkbox").check()
    compared = page.locator(".compared")
    expect(compared.locator("thead th")).to_have_count(3)
    expect(compared.locator("tr.differs").first).to_be_visible()


# Takes note of the trials that ever had a mark above the drawing
MARKS = """() => {
    window.marks = new Set();
    const look = () => document.querySelectorAll(".tail [data-number]")
        .forEach((mark) => window.marks.add(Number(mark.dataset.number)));
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true });
}"""


def test_what_is_committed_appears_in_seven_tabs(browser: Browser, served: Served) -> None:
    with opened(browser, served.address) as page:
        page.goto(f"/studies/{served.study}/overview")
        figure(page, "history")
        others = [page.context.new_page() for _ in range(6)]
        for other in others:
            other.goto(f"/studies/{served.study}/trials")
        expect(others[-1].locator("[data-table][data-drawn]")).to_be_visible()
        page.bring_to_front()
        page.evaluate(MARKS)
        number = finished_trial(served.database, served.study)
        # at once, before the whole figure takes it in
        page.wait_for_function("(number) => window.marks.has(number)", arg=number)
        for other in (others[0], others[-1]):
            other.bring_to_front()
            expect(other.locator("tbody.rows tr").first.locator("a")).to_have_text(str(number))


# Counts what the page is told, also while a test looks elsewhere
TOLD = """() => {
    window.told = 0;
    document.addEventListener("tuner:trials", () => { window.told += 1; });
}"""
EVENTS, AT_ONCE = 3_000, 100  # an hour with a trial about every second; below what a page may lag


def in_use(page: Page) -> tuple[float, float]:
    """Bytes that scripts hold and nodes that there are, after what can be collected is gone."""
    tools = page.context.new_cdp_session(page)
    for _ in range(2):
        tools.send("HeapProfiler.collectGarbage")
    heap = tools.send("Runtime.getHeapUsage")["usedSize"]
    nodes = tools.send("Memory.getDOMCounters")["nodes"]
    tools.detach()
    return heap, nodes


def test_a_page_left_open_does_not_grow_and_misses_nothing_of_a_restart(
    browser: Browser, served: Served
) -> None:
    server = Server(served.database, Settings(home=served.home), Place())
    port = int(server.address.rsplit(":", 1)[1])
    with opened(browser, server.address, quiet=True) as page:
        with running(server):
            page.goto(server.login_url)
            page.goto(f"/studies/{served.study}/overview")
            for name in ("curves", "importance", "burndown", "history"):
                figure(page, name)
            page.evaluate(TOLD)
            stream = server.board.stream
            before = None
            for sent in range(AT_ONCE, EVENTS + AT_ONCE + 1, AT_ONCE):
                with server.board.live_studies.locked(served.study) as (_, live_study):
                    for i in range(AT_ONCE):
                        stream.send_trials(served.study, live_study, [(sent + i) % SIZE])
                page.wait_for_function("(sent) => window.told >= sent", arg=sent)
                before = before or in_use(page)
            assert before is not None
            after = in_use(page)
            assert after[0] - before[0] < 1_500_000, f"{after[0] - before[0]:,} bytes more"
            assert after[1] < 1.5 * before[1], f"{after[1]} nodes instead of {before[1]}"
            version = page.locator("[data-figure=history]").get_attribute("data-drawn")
        expect(page.locator("html[data-silent]")).to_have_count(1)
        number = finished_trial(served.database, served.study)  # while nobody tells
        with running(Server(served.database, Settings(home=served.home), Place(port=port))):
            expect(page.locator("html[data-silent]")).to_have_count(0)
            history = page.locator("[data-figure=history]")
            expect(history).not_to_have_attribute("data-drawn", version or "")
            numbers = history.locator(".drawing").evaluate(
                "(box) => box.calcdata.flat().map((point) => point.x)"
            )
            assert number in numbers
            expect(page.locator("#header")).to_contain_text(f"{number + 1}")
