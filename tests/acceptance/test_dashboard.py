"""The dashboard as people use it: a real server, a real browser, a real worker."""

import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from sqlalchemy.engine import URL

from tests.support.bench import Bench
from tests.support.browsing import needs_chromium, opened, serving
from tests.support.commands import tuner
from tests.support.databases import cloned
from tests.support.homes import new_home, remove_home
from tests.support.studies import quick
from tests.support.waiting import PATIENCE, STUCK
from tuner import accounts, artifacts
from tuner.accounts import Role
from tuner.commands import launching, preparing, reading, steering
from tuner.database import claims, devices, notes, results, studies, workers
from tuner.database.engine import Database
from tuner.settings import Settings
from tuner.trials import Cause, Report, Study, TrialState

pytestmark = needs_chromium

HOSTILE = "<img src=x onerror=hacked()> {{7*7}} \u202egnp.exe\u202c =1+1 \x1b[31m"
PASSWORD = "a long enough password"


@dataclass
class Served:
    """A dashboard and what is behind it."""

    address: str
    database: Database
    home: Path
    environment: dict[str, str]

    def launch(self, name: str, folder: Path, trials: int = 6) -> Study:
        settings = Settings(home=self.home)
        file = quick(folder, name, trials=trials)
        prepared = preparing.prepare_study(self.database, file, settings)
        return launching.launch(self.database, prepared, by="ada").study


@pytest.fixture(scope="module")
def served(server: URL, template: str) -> Iterator[Served]:
    with cloned(server, template) as url:
        database, home = Database(url), new_home()
        environment = {
            "TUNER_DATABASE_URL": url.render_as_string(hide_password=False),
            "TUNER_HOME": str(home),
            "PATH": "/usr/bin:/bin",
        }
        with serving(database, home) as address:
            yield Served(address, database, home, environment)
        database.close()
    remove_home(home)


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    with opened(browser, served.address) as opened_page:
        yield opened_page


def hold(served: Served, study: Study) -> claims.Claim:
    """Claim a trial as a worker does, with one report."""
    bench = Bench.__new__(Bench)
    bench.database, bench.id = served.database, study.id
    bench.space = Bench(served.database, f"space of {study.name}").space
    claim = bench.claim()
    bench.do(results.report, claim, [Report(1, 0.5, {"loss": 1.0, "train_loss": 0.8})], lease=60.0)
    return claim


def test_a_study_is_launched_by_form_and_watched_until_it_has_finished(
    page: Page, served: Served, tmp_path: Path
) -> None:
    page.goto("/launch")
    text = page.get_by_role("textbox", name="Study file (YAML)")
    text.fill(quick(tmp_path, "by-form", trials=2, epochs=1).read_text())
    expect(page.get_by_label("Trials", exact=True)).to_have_value("2")
    page.get_by_label("Trials", exact=True).fill("3")
    page.get_by_label("Trials", exact=True).blur()
    expect(text).to_have_value(re.compile("trials: 3"))
    expect(page.locator("#verdict")).to_contain_text("in 3 trials of at most 1 epoch")
    page.get_by_role("button", name="Launch").click()
    page.wait_for_url("**/overview")
    expect(page.locator(".pill").first).to_have_text("active")
    worker = subprocess.Popen(
        [sys.executable, "-m", "tuner", "worker", "--workers", "1", "--until-done"],
        env=served.environment,
    )
    expect(page.locator(".pill").first).to_have_text("finished", timeout=1000 * PATIENCE)
    expect(page.locator("#header")).to_contain_text("3 of 3")
    assert worker.wait(STUCK) == 0

    best = reading.load_best(served.database, reading.find(served.database, "by-form"))
    page.get_by_role("link", name="Export").click()
    exported = page.locator("#export-text").text_content() or ""
    printed = tuner("best", "by-form", environment={**served.environment, "COLUMNS": "200"}).stdout
    assert exported.splitlines()[1:] == printed.splitlines()[1:]
    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    assert download.value.suggested_filename == "by-form-best-config.yaml"

    page.goto(f"/studies/{reading.find(served.database, 'by-form').id}/trials/{best.number}")
    expect(page.locator("h1")).to_contain_text("★")
    expect(page.locator("#trial")).to_contain_text("One report so far")


def test_the_launch_form_says_what_is_wrong_where(page: Page) -> None:
    page.goto("/launch")
    text = page.get_by_role("textbox", name="Study file (YAML)")
    text.fill("name: a\nfamily: cnn\ndata: digits\nsearch:\n  dropout: {low: 2, high: 1}\n")
    problems = page.locator("#verdict .problems")
    expect(problems).to_contain_text("the study file:5: search.dropout")
    row = page.locator(".row", has_text="dropout")
    row.get_by_label("Maximum of dropout").fill("3")
    row.get_by_label("Maximum of dropout").blur()
    expect(text).to_have_value(re.compile("high: 3"))
    row.get_by_role("combobox").select_option("default")
    expect(text).not_to_have_value(re.compile("dropout"))
    expect(page.locator("#verdict")).to_contain_text("Ready.")


def test_a_study_is_steered(page: Page, served: Served, tmp_path: Path) -> None:
    study = served.launch("steered", tmp_path)
    claim = hold(served, study)
    page.goto(f"/studies/{study.id}/log")
    pill = page.locator("#header .state .pill")
    page.get_by_role("button", name="Pause").click()
    expect(pill).to_have_text("paused")
    page.get_by_role("button", name="Undo").click()
    expect(pill).to_have_text("active")
    page.get_by_role("button", name="Pause").click()
    expect(pill).to_have_text("paused")
    page.get_by_role("button", name="Resume").click()
    expect(pill).to_have_text("active")

    def more(button: str) -> None:
        page.locator(".menu summary").click()
        page.get_by_role("button", name=button).click()

    more("Change budget and limits…")
    page.get_by_label("Total trials").fill("9")
    page.get_by_role("button", name="Change", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("budget.trials: 6 → 9")
    expect(page.locator("#header")).to_contain_text("of 9")
    more("Enqueue a configuration…")
    page.get_by_label("Parameters, one per line").fill("learning_rate: 3")
    page.get_by_role("button", name="Enqueue", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("learning_rate")
    page.get_by_label("Parameters, one per line").fill("learning_rate: 0.01")
    page.get_by_role("button", name="Enqueue", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("queued as trial")

    folder = artifacts.attempt_folder(Settings(home=served.home), study.id, claim.number, 1)
    folder.mkdir(parents=True)
    (folder / artifacts.LOG_FILE).write_text("10 %\r20 %\r100 %\ndone\n")
    page.goto(f"/studies/{study.id}/trials/{claim.number}")
    expect(page.locator("#log")).to_have_text("100 % done")  # what a progress bar showed last
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Kill").click()
    expect(page.locator("#trial")).to_contain_text("killed by local")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#trial .state .pill")).to_have_text("waiting")

    page.goto(f"/studies/{study.id}/log")
    page.get_by_role("button", name="Stop").click()
    expect(pill).to_have_text("stopped")
    more("Delete…")
    page.get_by_label("Type steered").fill("steered")
    page.get_by_role("button", name="Delete", exact=True).click()
    page.wait_for_url("**/studies")
    with served.database.statement() as connection:
        assert "steered" not in studies.names(connection)


def test_several_studies_are_searched_selected_and_deleted(
    page: Page, served: Served, tmp_path: Path
) -> None:
    for name in ("many-1", "many-2", "other"):
        served.launch(name, tmp_path)
    page.goto("/studies")
    page.get_by_placeholder("Name, family").fill("many")
    expect(page.locator("#studies tbody tr")).to_have_count(2)
    expect(page).to_have_url(re.compile("q=many"))
    page.get_by_label("Select all on this page").check()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#studies .pill.failed")).to_have_count(2)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#studies .pill.failed")).to_have_count(0)
    page.get_by_label("Select all on this page").check()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#studies .pill.failed")).to_have_count(2)
    page.get_by_label("Select all on this page").check()
    page.get_by_role("button", name="Delete…").click()
    page.locator("#delete-many input[name=typed]").fill("delete 2")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator("#studies")).to_contain_text("No studies match")
    with served.database.statement() as connection:
        assert {"many-1", "many-2"}.isdisjoint(studies.names(connection))


@pytest.fixture(scope="module")
def hostile(served: Served) -> int:
    """A study of which every text is out to do harm."""
    name = HOSTILE
    with served.database.transaction() as connection:
        study = studies.create(connection, name, ["maximize"], metrics=[HOSTILE], family=None)
        notes.write(
            connection,
            study,
            f"# {HOSTILE}\n<script>hacked()</script> [x](javascript:hacked()) ![](http://x/y.png)",
            author=HOSTILE,
            revision=0,
        )
    bench = Bench.__new__(Bench)
    bench.database, bench.id = served.database, study
    bench.space = Bench(served.database, "space of hostile").space
    claim = bench.claim()
    bench.finish(
        claim, TrialState.FAILED, cause=Cause.USER_ERROR, message=HOSTILE, log_tail=HOSTILE
    )
    complete = bench.claim()
    bench.do(results.report, complete, [Report(1, 0.5, {HOSTILE: 0.5})], lease=60.0)
    bench.do(results.report, complete, [Report(2, 0.6, {HOSTILE: 0.6})], lease=60.0)
    bench.finish(complete, user_attrs={HOSTILE: HOSTILE})
    with served.database.statement() as connection:
        worker = uuid.uuid4()
        workers.register(
            connection, worker, host=HOSTILE, pid=1, slots=1, devices=["cpu"], version="0"
        )
        devices.register(connection, worker, [devices.DeviceRecord(HOSTILE, HOSTILE, 2**30)])
    return study


def test_what_users_write_is_shown_as_text_and_runs_nowhere(page: Page, hostile: int) -> None:
    for path in (
        "/studies",
        *(f"/studies/{hostile}/{tab}" for tab in ("log", "configuration", "notes", "export")),
        f"/studies/{hostile}/trials/0",
        f"/studies/{hostile}/trials/1",
        "/fleet",
        f"/compare?studies={hostile}",
    ):
        page.goto(path)
        assert page.locator("img").count() == 0, path
        assert page.locator("main script").count() == 0, path
        body = page.locator("body").inner_text()
        assert "<img src=x onerror=hacked()>" in body, path
        assert "49" not in page.title(), path
        assert "\u202e" not in body, path
        assert "\x1b" not in body, path
    page.goto(f"/studies/{hostile}/notes")
    assert page.locator("#note a[href^=javascript]").count() == 0


# how much wider than the window the page is, with its menu open
OVERFLOW = """() => {
    const menu = document.querySelector("#header details.menu");
    if (menu) menu.open = true;
    const width = document.documentElement.scrollWidth;
    if (menu) menu.open = false;
    return width - innerWidth;
}"""


def test_every_page_can_be_used_by_everybody(
    browser: Browser, served: Served, hostile: int, tmp_path: Path
) -> None:
    """axe-core finds nothing, light and dark, wide and narrow; nothing is cut off."""
    study = served.launch("usable", tmp_path)
    hold(served, study)
    paths = (
        "/studies",
        *(f"/studies/{study.id}/{tab}" for tab in ("log", "configuration", "notes", "export")),
        f"/studies/{study.id}/trials/0",
        "/fleet",
        "/launch",
        f"/compare?studies={study.id}&studies={hostile}",
        "/audit",
        f"/studies/{hostile}/log",
        f"/studies/{hostile}/trials/1",
        "/nothing",
    )
    sizes = {"light": {"width": 1400, "height": 900}, "dark": {"width": 390, "height": 844}}
    for scheme, size in sizes.items():
        with opened(browser, served.address, color_scheme=scheme, viewport=size) as page:
            for path in paths if scheme == "light" else paths[:9]:
                page.goto(path)
                report = Axe().run(page)
                failures = f"{scheme} {path}\n{report.generate_report()}"
                assert report.violations_count == 0, failures
                cut = page.evaluate(OVERFLOW)
                assert cut <= 0, f"{path} is {cut} px wider than {size['width']} px"


def test_a_login_is_asked_for_and_roles_decide_what_is_offered(
    browser: Browser, served: Served, tmp_path: Path
) -> None:
    study = served.launch("roles", tmp_path)
    for role in Role:
        accounts.add(served.database, f"the {role}", PASSWORD, role)
    with (
        serving(served.database, served.home, login=True) as address,
        opened(browser, address, quiet=True) as page,
    ):
        for role, controls in (("viewer", 0), ("operator", 2), ("admin", 2)):
            page.goto(f"/studies/{study.id}/log")
            assert "/login" in page.url
            page.get_by_label("Name").fill(f"the {role}")
            page.get_by_label("Password").fill("wrong password" if role == "viewer" else PASSWORD)
            page.get_by_role("button", name="Log in").click()
            if role == "viewer":
                expect(page.get_by_role("alert")).to_have_text("name or password is wrong")
                page.get_by_label("Password").fill(PASSWORD)
                page.get_by_role("button", name="Log in").click()
            page.wait_for_url("**/log")
            buttons = page.get_by_role("button", name=re.compile("^(Pause|Stop)$"))
            expect(buttons).to_have_count(controls)
            expect(page.get_by_role("link", name="Launch")).to_have_count(int(controls > 0))
            page.get_by_role("button", name="Log out").click()
            page.wait_for_url("**/login")


def test_a_page_that_stays_open_goes_on_after_the_server_was_restarted(
    browser: Browser, served: Served, tmp_path: Path
) -> None:
    study = served.launch("restarted", tmp_path)
    with serving(served.database, served.home) as address:
        port = urlsplit(address).port
        context = browser.new_context(base_url=address)
        page = context.new_page()
        page.goto(address)
        page.goto(f"/studies/{study.id}/log")
        expect(page.locator("#header")).to_contain_text("0 of 6")
    steering.pause(served.database, "restarted")
    with serving(served.database, served.home, port=port):
        expect(page.locator("#header .state .pill")).to_have_text("paused", timeout=1000 * PATIENCE)
        context.close()
