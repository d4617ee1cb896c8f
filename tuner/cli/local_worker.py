"""Work on studies in this process: train them, and confirm their winners."""

from collections.abc import Callable, Sequence

from tuner import shell
from tuner.cli import interrupts
from tuner.cli.live import LiveView
from tuner.cli.output import err, literal
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
    """Work until no study is active; raises `Interrupted` if asked to stop before."""
    from tuner.worker.loop import Worker  # imports Optuna: `tuner list` must not wait

    names = [study.name for study in studies]
    local = Worker(database, settings, slots, only=names, until_done=True, allow_code=True)
    watched = ListeningDatabase(database, TRIALS, listen=settings.listen)
    with LiveView(watched, studies, err) as view:
        local.on_drain = lambda: setattr(
            view,
            "note",
            "stopping: running trials go back to the queue (Ctrl-C again: stop at once)",
        )
        interrupts.check()
        local.run()
        if local.drained:  # printing may fail from here on, with the terminal
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
    """Confirm a study's winner and store the outcome; `Interrupted` pauses it."""
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
    """Confirm the winner of each study whose file asks for it; `Interrupted` pauses it.

    Does nothing until all studies are finished: before, nothing is exported either.
    """
    if any(study.state is not StudyState.FINISHED for study in studies):
        return
    for study in studies:
        request = ResolvedSpec.from_json(study.spec or {}).confirm
        if request is None:
            continue
        err.print(
            f"[dim]confirming `{literal(study.name)}`: retraining its best {request.top} with up "
            f"to {request.seeds} fresh seeds each[/]"
        )
        try:
            confirm_here(database, settings, study, request, workers=workers, threads=threads)
        except NothingToExportError:  # the export says so
            continue
        except BadInputError as error:
            export = shell.command("export", study.name)
            raise BadInputError(
                f"{error}; to export the search's best without a confirmation, run `{export}`"
            ) from error
