"""What a study's trials need on this machine: its code and its data, as they were at launch."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tuner.commands import reading
from tuner.data import entries, prepare
from tuner.database import study_limits
from tuner.database.engine import Connected, Database
from tuner.errors import BadInputError, SpecError, TunerError
from tuner.settings import Settings
from tuner.study_file.code import USER_CODE_FAMILIES
from tuner.study_file.messages import quoted
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import Study, StudyState, TrialState
from tuner.user_code.source import check, fingerprint


def check_sources(settings: Settings, study: Study) -> None:
    """BadInputError if the study's code or data is not here, or changed since its launch.

    No worker serves a study whose code has changed, so waiting for its end would never return; with
    other data each of its trials would fail.
    """
    if study.spec is None:
        return
    spec = ResolvedSpec.from_json(study.spec)
    try:
        for code in spec.classes.values():
            check(code)
        if spec.code is not None:
            check(spec.code)
            return
        assert spec.data is not None
        data = prepare(spec.data, settings.data_cache)
    except TunerError as error:
        raise BadInputError(
            f"the study {quoted(study.name)} cannot be trained here: {error}"
        ) from error
    if data.fingerprint != study.data_fingerprint:
        raise BadInputError(
            f"the study {quoted(study.name)} cannot be trained here: its data has changed since it "
            f"was launched (fingerprint {data.fingerprint}, at launch {study.data_fingerprint}); "
            "restore the data, or launch it as a new study under another name"
        )


def check_trainable(
    database: Database, settings: Settings, names: Sequence[str], *, allow_code: bool
) -> None:
    """BadInputError if a worker cannot serve one of these studies; StudyNotFoundError without one.

    Their code must not have changed since the launch: a worker that serves nothing else would idle
    for ever.
    """
    for name in names:
        study = reading.find(database, name)
        if study.spec is None:
            raise BadInputError(
                f"the study {quoted(name)} was made through Optuna: its trials run where "
                "`study.optimize` is called"
            )
        has_classes = ResolvedSpec.from_json(study.spec).has_classes
        if (study.family in USER_CODE_FAMILIES or has_classes) and not allow_code:
            raise BadInputError(
                f"the study {quoted(name)} runs user code, which this worker may only do with "
                "`--allow-code`"
            )
        runs_code = study.family in USER_CODE_FAMILIES or has_classes
        if study.state is StudyState.ACTIVE and runs_code:
            check_sources(settings, study)


def explain_changed_code(study: Study) -> str | None:
    """Explain that no worker here runs the study's code, if the code has changed."""
    spec = None if study.spec is None else ResolvedSpec.from_json(study.spec)
    if spec is None or spec.code is None:
        return None
    try:
        fingerprint(spec.code)
    except SpecError:  # the code may be on another machine
        return None
    try:
        check(spec.code)
    except TunerError as error:
        return str(error)
    return None


def take_corrected_code(connection: Connected, study: Study) -> None:
    """Have workers run the user code as it is on this machine now, if it may be corrected.

    Does nothing on a machine without that code.
    """
    if study.spec is None or study.family not in USER_CODE_FAMILIES:
        return
    spec = ResolvedSpec.from_json(study.spec)
    assert spec.code is not None
    counts = reading.count_by_state(connection, study.id)
    with suppress(SpecError):
        current = fingerprint(spec.code)
        if current != spec.code.fingerprint and may_be_corrected(counts):
            code = spec.code.model_copy(update={"fingerprint": current})
            spec = spec.model_copy(update={"code": code})
            study_limits.set_limits(connection, study.id, spec.limits, spec.as_json())


def may_be_corrected(counts: Mapping[TrialState, int]) -> bool:
    """Whether no trial has a result of the current code, or is about to have one."""
    return not sum(
        counts[s] for s in TrialState if s not in (TrialState.WAITING, TrialState.FAILED)
    )


def concerns_code(change: str) -> bool:
    """Whether a line of `differences` is about the study's code."""
    return change.startswith(("code.", "classes."))


@dataclass(frozen=True, slots=True)
class CachedData:
    """A study's prepared data in this machine's cache."""

    size: int  # bytes
    seconds: float  # that preparing it took
    saved: float  # seconds of preparation that reuse has saved since


def find_cached_data(settings: Settings, study: Study) -> CachedData | None:
    """Find the study's prepared data in the cache; None if this machine has none."""
    matching = [e for e in entries(settings.data_cache) if e.fingerprint == study.data_fingerprint]
    if not matching or study.data_fingerprint is None:
        return None
    size, seconds, saved = zip(*((e.size, e.seconds, e.saved) for e in matching), strict=True)
    return CachedData(sum(size), sum(seconds), sum(saved))
