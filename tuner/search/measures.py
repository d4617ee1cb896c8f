"""What a search reads of each report beside the first objective's value.

These are the other objectives, and the metrics that constraints bound.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from tuner.database.readers.columns import Floats, Reports
from tuner.database.readers.feed import TrialRow
from tuner.search.pruners import ReportPoint
from tuner.study_file import constraints
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import Report


class Measures:
    """The further metrics of a study's reports."""

    def __init__(self, spec: ResolvedSpec) -> None:
        self._metric, *self._others = spec.objective.metrics
        self._bounds = spec.constraints
        self.names = spec.further_metrics  # of the metrics; the other objectives come first

    def of_report(self, report: Report) -> ReportPoint:
        """Return what a pruner takes of a report."""
        own = constraints.of_user_code(report.metrics).values()
        point = self._point(report.step, report.value, report.metrics)
        return point._replace(violation=point.violation + constraints.sum_violations(own))

    def of_row(self, row: TrialRow) -> list[ReportPoint]:
        """Return what a pruner takes of each report of a trial."""
        steps, values = row.steps or (), row.report_values or ()
        measured = row.measured or [()] * len(steps)
        return [
            self._point(step, value, self._by_name(metrics))
            for step, value, metrics in zip(steps, values, measured, strict=True)
        ]

    def convert(self, reports: Reports) -> Reports:
        """Return reports whose metrics are the other objectives and, last, the violation."""
        if not self.names and not self._bounds:
            return reports
        rows = len(reports.values)
        metrics = np.empty((rows, 0)) if reports.metrics is None else reports.metrics
        violations = np.zeros(rows)
        if self._bounds:
            violations = self._violations(reports.values, metrics)
        return reports._replace(
            metrics=np.column_stack([metrics[:, : len(self._others)], violations])
        )

    def _point(self, step: int, value: float, metrics: Mapping[str, float]) -> ReportPoint:
        others = [metrics.get(name, np.nan) for name in self._others]
        return ReportPoint(step, value, others, self._violation(value, metrics))

    def _by_name(self, metrics: Sequence[float]) -> dict[str, float]:
        pairs = zip(self.names, metrics, strict=False)
        return {name: value for name, value in pairs if not np.isnan(value)}

    def _violation(self, value: float, metrics: Mapping[str, float]) -> float:
        measured = {**metrics, self._metric: value}
        return constraints.sum_violations(constraints.measure(self._bounds, measured).values())

    def _violations(self, values: Floats, metrics: Floats) -> Floats:
        total = np.zeros(len(values))
        for name, bounds in self._bounds.items():
            column = values if name == self._metric else metrics[:, self.names.index(name)]
            for sign, bound in ((1.0, bounds.below), (-1.0, bounds.above)):
                if bound is not None:
                    beyond = sign * (column - bound) / (abs(bound) or 1.0)
                    total += np.nan_to_num(np.maximum(beyond, 0.0))  # unknown: not violated yet
        return total
