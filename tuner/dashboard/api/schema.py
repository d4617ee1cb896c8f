"""What the REST API can be asked, as OpenAPI."""

from typing import Any

from fastapi import APIRouter, Request

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
def openapi(request: Request) -> dict[str, Any]:
    """The description that clients are made from."""
    found: dict[str, Any] = request.app.openapi()
    return found
