"""Faults as a matrix: who is struck × how × when. A trial may execute more than once; its outcome,
reports and budget unit are recorded exactly once, no process is left and the study ends.

Each test strikes four times: two idle workers, a trial in the middle of an epoch, one in the middle
of writing its checkpoint, and one between its last report and its end.
"""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGCONT, SIGINT, SIGKILL, SIGSTOP, SIGTERM

import psutil
import pytest
from sqlalchemy.engine import make_url

from tests.support.lab import LEASE, Lab, past_the_lease, taken_over
from tests.support.postgres import PASSWORD, Server, separate_server
from tests.support.waiting import STUCK, eventually
from tuner.database import workers

pytestmark = pytest.mark.timeout(3_600)  # four studies, on the busiest machine
MOMENTS = ("epoch", "checkpoint", "tell")
FAULTS = (SIGTERM, SIGKILL, SIGSTOP)
GUEST = "guest"  # a role that limits hold for: none do for a superuser
# settings of a role hold from its next session on
END = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{GUEST}'"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with separate_server() as server:
        yield server


@pytest.fixture
def lab(server: Server, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    name = "".join(c for c in request.node.name.lower() if c.isalnum())
    lab = Lab(server, name, tmp_path)
    try:
        yield lab
    finally:
        lab.kill()


Undo = Callable[[], object]
Strike = Callable[[int, str, int], Undo]  # the executor's process, the moment, the trial's number


def nothing() -> None:
    """There is nothing to undo."""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_executor(lab: Lab, fault: signal.Signals) -> None:
    def strike(executor: int, moment: str, number: int) -> Undo:
        process = psutil.Process(executor)
        process.send_signal(fault)
        if fault is not SIGSTOP:
            return nothing
        if moment != "idle":  # its worker renews for it
            eventually(lambda: renewed_past(lab, moment, number))
        return lambda: process.send_signal(SIGCONT)

    strike_four_times(lab, strike)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_worker(lab: Lab, fault: signal.Signals) -> None:
    def strike(executor: int, moment: str, number: int) -> Undo:
        worker = lab.worker_of(executor)
        worker.send_signal(fault)
        if fault is SIGTERM:
            lab.told.add(worker.pid)
        if fault is SIGSTOP:
            if moment != "idle":
                eventually(lambda: taken_over(lab, moment, number))
            return lambda: worker.send_signal(SIGCONT)
        lab.start_worker()
        return nothing

    strike_four_times(lab, strike)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_postgresql(lab: Lab, server: Server, fault: signal.Signals) -> None:
    def strike(executor: int, moment: str, number: int) -> Undo:
        if fault is not SIGSTOP:
            server.stop(SIGINT if fault is SIGTERM else SIGKILL)
            server.start()
            return nothing
        stopped = server.processes()
        for process in stopped:
            process.send_signal(SIGSTOP)
        past_the_lease()
        for process in stopped:
            process.send_signal(SIGCONT)
        return nothing

    strike_four_times(lab, strike)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_connection(lab: Lab, server: Server, fault: signal.Signals) -> None:
    def strike(executor: int, moment: str, number: int) -> Undo:
        backend = psutil.Process(backend_of(lab, server, lab.worker_of(executor).pid))
        backend.send_signal(fault)
        if fault is not SIGSTOP:  # SIGKILL makes PostgreSQL restart all of its backends
            psutil.wait_procs([backend], timeout=STUCK)
            return nothing
        if moment != "idle":
            eventually(lambda: taken_over(lab, moment, number))
        return lambda: backend.send_signal(SIGCONT)

    strike_four_times(lab, strike)


REFUSALS = {
    # as after a failover, by an administrator, while a password is changed, by a crowd
    "read-only": ("SET default_transaction_read_only = on", "takes no writes now"),
    "timeout": ("SET statement_timeout = '1ms'", "has ended a statement"),
    "password": ("PASSWORD 'another'", "refuses the login"),
    "connections": ("CONNECTION LIMIT 0", "does not answer: too many connections"),
    "login": ("NOLOGIN", "refuses the login"),
}
ALLOWED = f"RESET ALL; ALTER ROLE {GUEST} PASSWORD '{PASSWORD}' LOGIN CONNECTION LIMIT -1"


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_server_that_refuses_for_a_while(lab: Lab, server: Server, refusal: str) -> None:
    forbidden, message = REFUSALS[refusal]
    url = make_url(lab.environment["TUNER_DATABASE_URL"]).set(username=GUEST)
    server.execute(f"CREATE ROLE {GUEST} LOGIN PASSWORD '{PASSWORD}' IN ROLE tuner")
    try:
        for _ in range(2):
            lab.start_worker(TUNER_DATABASE_URL=url.render_as_string(hide_password=False))
        lab.launch("epoch")
        lab.reached("epoch")
        server.execute(f"ALTER ROLE {GUEST} {forbidden}", END)
        lab.go_on("epoch")
        log = lab.folder / "workers.log"
        eventually(lambda: message in log.read_text())
        server.execute(f"ALTER ROLE {GUEST} {ALLOWED}", END)
        lab.check("epoch")
        lab.close()
    finally:
        lab.kill()
        server.execute(f"DROP ROLE {GUEST}")


def test_a_worker_may_start_before_the_database(lab: Lab, server: Server) -> None:
    server.stop(SIGINT)
    worker = lab.spawn_worker()
    log = lab.folder / "workers.log"
    eventually(lambda: "does not answer" in log.read_text())
    server.start()
    eventually(lambda: lab.executors(worker.pid))
    with lab.database.statement() as connection:
        assert [alive.pid for alive in workers.alive(connection)] == [worker.pid]
    lab.close()


def test_a_lease_ends_between_a_report_and_its_checkpoint(lab: Lab, server: Server) -> None:
    """PostgreSQL forgets the reports, and the next attempt finds no checkpoint of the last one."""
    for _ in range(2):
        lab.start_worker()
    lab.launch("reported")
    _, number = lab.reached("reported")
    server.stop(SIGKILL)
    past_the_lease()  # its worker has killed the executor
    server.start()
    lab.go_on("reported")
    lab.check("reported")
    assert lab.trials("reported")[number].attempt > 1
    lab.close()


def strike_four_times(lab: Lab, strike: Strike) -> None:
    """Strike idle workers, then one study after the other in its moment."""
    for _ in range(2):
        lab.start_worker()
    undo = strike(lab.executors(lab.workers[0].pid)[0].pid, "idle", -1)
    lab.launch("idle")
    undo()
    lab.check("idle")
    for moment in MOMENTS:
        lab.launch(moment)
        executor, number = lab.reached(moment)
        undo = strike(executor, moment, number)
        lab.go_on(moment)
        undo()
        lab.check(moment)
    lab.close()


def backend_of(lab: Lab, server: Server, worker: int) -> int:
    """The process of PostgreSQL that serves a worker."""
    connection = server.connect(str(lab.database.url.database))
    query = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'tuner %% ' || %s"
    cursor = connection.cursor()

    def found() -> bool:  # it connects when it needs to
        cursor.execute(query, (str(worker),))
        return cursor.rowcount == 1

    connection.autocommit = True
    eventually(found)
    (pid,) = cursor.fetchone()
    connection.close()
    return int(pid)


def renewed_past(lab: Lab, moment: str, number: int) -> bool:
    """Whether the lease ends later than one that was never renewed would have."""
    with lab.database.transaction() as connection:
        return bool(
            connection.exec_driver_sql(
                "SELECT t.lease_until > t.started_at + %s * interval '2 seconds'"
                " FROM tuner.trials t JOIN tuner.studies s ON s.id = t.study_id"
                " WHERE s.name = %s AND t.number = %s",
                (LEASE, moment, number),
            ).scalar_one()
        )
