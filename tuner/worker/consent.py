"""Whether this worker runs the code of a study that brings its own.

Whoever can write to the database can have it run anything: so a worker on a server that others use
must have been told to (`--allow-code`, TUNER_ALLOW_CODE). And it runs only the code that the study
was launched with.
"""

import logging

from tuner.database.serving import ActiveStudy
from tuner.errors import SpecError, TunerError
from tuner.logs import log_context
from tuner.study_file.code import OWN, Code
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import Study
from tuner.user_code import source

_log = logging.getLogger(__name__)


class Consent:
    """Says why not once for every reason."""

    def __init__(self, *, allow_code: bool) -> None:
        self._allow_code = allow_code
        self._said: set[tuple[int, str]] = set()

    def allows(self, study: ActiveStudy) -> bool:
        """Whether a study of this family may run here at all."""
        if self._allow_code or study.family not in OWN:
            return True
        self._say(study, "it runs code of its own; start the worker with --allow-code to allow it")
        return False

    def reads(self, study: Study, *, is_wanted: bool) -> ResolvedSpec | None:
        """The study's specification; None where a newer tuner has stored what this one lacks.

        Workers are upgraded one after the other: one study must not end those that are not yet. But
        a worker that was started for this study (`is_wanted`) would wait for ever: SpecError.
        """
        try:
            return ResolvedSpec.from_json(study.spec or {})
        except SpecError as error:
            if is_wanted:
                raise
            self._say(study, str(error))
            return None

    def finds(self, study: Study, code: Code | None) -> bool:
        """Whether the study's code is on this machine, as it was at launch."""
        try:
            if code is not None:
                source.check(code)
        except TunerError as error:
            self._say(study, str(error))
            return False
        return True

    def _say(self, study: Study | ActiveStudy, reason: str) -> None:
        if (study.id, reason) not in self._said:
            self._said.add((study.id, reason))
            with log_context(study=study.id):
                _log.warning("%s is not served: %s", study.name, reason)
