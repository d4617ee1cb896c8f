"""The REST API under /api/v1: a file a resource."""

from tuner.dashboard.api import figures, fleet, schema, studies, trials

__all__ = ["figures", "fleet", "schema", "studies", "trials"]
