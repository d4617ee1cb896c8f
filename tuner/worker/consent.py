"""Whether this worker runs the code of a study that brings its own.

Anyone who can write to the database can have it run anything. So a worker on a server that others
use runs such code only if it was started with `--allow-code` (TUNER_ALLOW_CODE), and only the code
that the study was launched with.
"""

import logging

from tuner.database.serving import ActiveStudy
from tuner.errors import SpecError, TunerError
from tuner.families import registry
from tuner.logs import log_context
from tuner.study_file.code import USER_CODE_FAMILIES, Code
from tuner.study_file.messages import quoted
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import Study
from tuner.user_code import source

_log = logging.getLogger(__name__)


class Consent:
    """Logs why a study is not served, each reason once."""

    def __init__(self, *, allow_code: bool) -> None:
        self._allow_code = allow_code
        self._logged: set[tuple[int, str]] = set()

    def allows(self, study: ActiveStudy) -> bool:
        """Whether a study of this family can and may run here at all."""
        if not registry.exists(study.family):
            reason = registry.problems().get(study.family) or (
                f"its family {quoted(study.family)} is not installed here; install the package "
                "that it comes with, and restart the worker"
            )
            self._log_once(study, reason)
            return False
        if self._allow_code or study.family not in USER_CODE_FAMILIES:
            return True
        self._log_once(
            study, "it runs code of its own; start the worker with --allow-code to allow it"
        )
        return False

    def read_spec(self, study: Study, *, is_required: bool) -> ResolvedSpec | None:
        """The study's specification; None if a newer tuner stored what this one does not know.

        Workers are upgraded one after the other, and one study must not end those that still wait
        for it. But a worker that was started for this study (`is_required`) would wait forever:
        SpecError.
        """
        try:
            return ResolvedSpec.from_json(study.spec or {})
        except SpecError as error:
            if is_required:
                raise
            self._log_once(study, str(error))
            return None

    def allows_classes(self, study: Study, spec: ResolvedSpec) -> bool:
        """Whether the sampler and pruner that the study names by their class may run here."""
        if spec.has_classes and not self._allow_code:
            self._log_once(
                study,
                "its sampler or pruner is a class of its choice; start the worker with "
                "--allow-code to allow it",
            )
            return False
        return all(self.has_code(study, code) for code in spec.classes.values())

    def has_code(self, study: Study, code: Code | None) -> bool:
        """Whether the study's code is on this machine, as it was at launch."""
        try:
            if code is not None:
                source.check(code)
        except TunerError as error:
            self._log_once(study, str(error))
            return False
        return True

    def _log_once(self, study: Study | ActiveStudy, reason: str) -> None:
        if (study.id, reason) not in self._logged:
            self._logged.add((study.id, reason))
            with log_context(study=study.id):
                _log.warning("%s is not served: %s", study.name, reason)
