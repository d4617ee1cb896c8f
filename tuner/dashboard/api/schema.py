"""The REST API's description, as OpenAPI."""

from typing import Any

from fastapi import APIRouter, Request

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
def openapi(request: Request) -> dict[str, Any]:
    """The OpenAPI document, from which clients can be generated."""
    document: dict[str, Any] = request.app.openapi()
    return document
