"""The REST API under /api/v1: a file a resource."""

from tuner.dashboard.api import compare, figures, fleet, schema, studies, trials

__all__ = ["compare", "figures", "fleet", "schema", "studies", "trials"]
