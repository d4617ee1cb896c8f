"""The REST API under /api/v1: a file a resource."""

from tuner.dashboard.api import fleet, schema, studies, trials

__all__ = ["fleet", "schema", "studies", "trials"]
