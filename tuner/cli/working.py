"""Working on studies in this process: training them, and confirming their winners."""

from collections.abc import Callable, Sequence

from tuner import shell
from tuner.cli import interrupts
from tuner.cli.live import LiveView
from tuner.cli.output import err, shown
from tuner.commands.confirming import Confirmation
from tuner.database.engine import Database
from tuner.database.hints import TRIALS, ListeningDatabase
from tuner.errors import BadInputError, NothingToExportError
from tuner.settings import Settings
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.study import Confirm
from tuner.trials import Study, StudyState
from tuner.winner.elimination import Verdict
from tuner.worker import devices


def work_here(
    database: Database,
    settings: Settings,
    studies: Sequence[Study],
    slots: tuple[devices.Slot, ...],
) -> None:
    """Work until none of the studies is active; `Interrupted` where it is asked to stop before."""
    from tuner.worker.loop import Worker  # with Optuna, which `tuner list` does not wait for

    names = [study.name for study in studies]
    local = Worker(database, settings, slots, only=names, until_done=True, allow_code=True)
    watched = ListeningDatabase(database, TRIALS, listen=settings.listen)
    with LiveView(watched, studies, err) as view:
        local.on_drain = lambda: setattr(
            view, "note", "stopping: running trials go back to the queue (Ctrl-C again: at once)"
        )
        interrupts.check()
        local.run()
        if local.drained:  # what is printed last may fail with the terminal
            interrupts.note(local.signal)
    interrupts.check()


def confirm_here(
    database: Database,
    settings: Settings,
    study: Study,
    request: Confirm,
    *,
    workers: int | None,
    threads: int | None,
    on_round: Callable[[int, Verdict], None] = lambda *_: None,
) -> None:
    """Confirm a study's winner and keep what that shows; paused by `Interrupted`."""
    contest = Confirmation(database, settings, study, request)
    resources = ResolvedSpec.from_json(study.spec or {}).resources
    slots = devices.slots(
        devices.find(resources.device), workers or resources.workers, threads or resources.threads
    )

    def work(companion: Study) -> bool:
        work_here(database, settings, [companion], slots)
        return False  # an interruption is an exception here

    try:
        contest.run(work, on_round)
    except interrupts.Interrupted:
        contest.pause()
        raise


def confirm_all(
    database: Database,
    settings: Settings,
    studies: Sequence[Study],
    *,
    workers: int | None,
    threads: int | None,
) -> None:
    """Confirm the winner of each study whose file asks for it; paused by `Interrupted`.

    Once all of them are finished: before, nothing is exported anyway.
    """
    if any(study.state is not StudyState.FINISHED for study in studies):
        return
    for study in studies:
        request = ResolvedSpec.from_json(study.spec or {}).confirm
        if request is None:
            continue
        err.print(
            f"[dim]confirming `{shown(study.name)}`: its best {request.top}, trained again with "
            f"{request.seeds} fresh seeds each at most[/]"
        )
        try:
            confirm_here(database, settings, study, request, workers=workers, threads=threads)
        except NothingToExportError:  # the export says so
            continue
        except BadInputError as error:
            export = shell.command("export", study.name)
            raise BadInputError(
                f"{error}; `{export}` exports what the search has found, unconfirmed"
            ) from error
