"""The tab Configuration: the fully resolved study file, its data and versions."""

from collections.abc import Mapping
from typing import Any

from tuner import export
from tuner.commands import learning, reading
from tuner.dashboard.board import Board
from tuner.dashboard.summaries import spec_of
from tuner.report import findings
from tuner.study_file.dump import dump
from tuner.trials import Study


def context(board: Board, study: Study) -> Mapping[str, Any]:
    """The variables of the tab's template."""
    spec = spec_of(study)
    method = findings.describe_method(study)
    if fallbacks := reading.describe_fallbacks(board.database, study):
        method.append(("without a model", fallbacks))
    return {
        "file": None if spec is None else export.yaml_text(dump(spec)),
        "space": {} if spec is None else spec.space.describe(),
        "method": method,
        "data": findings.describe_data(study),
        "code_fingerprint": None if spec is None or spec.code is None else spec.code.fingerprint,
        "versions": export.versions(),
        "learned": learning.load_learned(board.database, study),
    }
