"""For monitoring: `/healthz`, and `/metrics` in Prometheus' text format."""

from collections import Counter

from fastapi import APIRouter, Response

from tuner.commands import reading
from tuner.dashboard.dependencies import BoardDep
from tuner.dashboard.security.access import viewer
from tuner.database import health, workers
from tuner.trials import StudyState, TrialState

router = APIRouter()


@router.get("/healthz")
def healthz(board: BoardDep) -> dict[str, str]:
    """Whether the dashboard and its database answer."""
    with board.database.statement() as connection:
        health.health(connection)
    return {"status": "ok"}


@router.get("/metrics", dependencies=[viewer])
def metrics(board: BoardDep) -> Response:
    """Counts of studies, trials and workers."""
    studies = reading.list_studies(board.database)
    progress_by_id = board.progress.of(*studies)
    with board.database.statement() as connection:
        alive = workers.alive(connection)
    states = Counter(study.state for study in studies)
    trials: Counter[TrialState] = Counter()
    for progress in progress_by_id.values():
        trials.update(progress.counts)
    lines = [
        *_gauge("tuner_studies", "Studies by state.", {s: states[s] for s in StudyState}),
        *_gauge("tuner_trials", "Trials by state.", {s: trials[s] for s in TrialState}),
        "# HELP tuner_workers Workers seen within the last half minute.",
        "# TYPE tuner_workers gauge",
        f"tuner_workers {len(alive)}",
        "# HELP tuner_worker_slots Trials that the workers can run at once.",
        "# TYPE tuner_worker_slots gauge",
        f"tuner_worker_slots {sum(worker.slots for worker in alive)}",
    ]
    return Response("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


def _gauge(
    name: str, meaning: str, by_state: dict[StudyState, int] | dict[TrialState, int]
) -> list[str]:
    values = [f'{name}{{state="{state}"}} {number}' for state, number in by_state.items()]
    return [f"# HELP {name} {meaning}", f"# TYPE {name} gauge", *values]
