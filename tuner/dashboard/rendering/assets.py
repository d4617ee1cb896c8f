"""The static files, read once: compressed, and addressed by their content.

All of them share one folder, named after the content of all: scripts import each other by relative
paths, and a page never mixes a new script with an old one from the browser's cache.
"""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import APIRouter, HTTPException, Request, Response

from tuner.figures import theme

_FOREVER = "public, max-age=31536000, immutable"
_COMPRESSES = ("text/", "application/json", "image/svg")
# style sheet → the files that it joins: on a first load each request costs time
SHEETS = {"base.css": ("base.css",), "plots.css": ("vendor/plotly.css", "plots.css")}
_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".svg": "image/svg+xml"}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Asset:
    """A static file in memory."""

    content: bytes
    compressed: bytes | None  # with gzip, if that makes it smaller
    media_type: str


@cache
def assets() -> dict[str, Asset]:
    """Path below `static` → the file."""
    by_path = dict(_load_folder(files("tuner.dashboard") / "static", ""))
    for name, parts in SHEETS.items():
        joined = b"\n".join(by_path.pop(part).content for part in parts)
        content = _theme().encode() + joined if name == "base.css" else joined
        by_path[name] = _asset(name, content)
    return by_path


@cache
def version() -> str:
    """The name of all static files together: a digest of their content."""
    digest = hashlib.sha256()
    for path, asset in sorted(assets().items()):
        digest.update(path.encode() + b"\0" + hashlib.sha256(asset.content).digest())
    return digest.hexdigest()[:12]


def url(path: str) -> str:
    """The URL of a static file; KeyError if there is none."""
    if path not in assets():
        raise KeyError(path)
    return f"/static/{version()}/{path}"


@router.get("/static/{_version}/{path:path}")
async def static(_version: str, path: str, request: Request) -> Response:
    """A static file; under an older version's URL too, for pages that are still open."""
    asset = assets().get(path)
    if asset is None:
        raise HTTPException(404, "there is no such file")
    cached = _FOREVER if _version == version() else "no-cache"
    headers = {"Cache-Control": cached, "Vary": "Accept-Encoding"}
    content = asset.content
    if asset.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        content = asset.compressed
    return Response(content, media_type=asset.media_type, headers=headers)


def _load_folder(folder: Traversable, prefix: str) -> list[tuple[str, Asset]]:
    loaded = []
    for entry in folder.iterdir():
        if entry.is_dir():
            loaded += _load_folder(entry, f"{prefix}{entry.name}/")
        else:
            loaded.append((f"{prefix}{entry.name}", _asset(entry.name, entry.read_bytes())))
    return loaded


def _asset(name: str, content: bytes) -> Asset:
    suffix = f".{name.rpartition('.')[2]}"
    media_type = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    compressed = gzip.compress(content, 9, mtime=0) if media_type.startswith(_COMPRESSES) else None
    if compressed is not None and len(compressed) >= len(content):
        compressed = None
    return Asset(content, compressed, media_type)


def _theme() -> str:
    """The palettes and fonts of the figures as a style sheet of variables."""
    light, dark = (
        "".join(f"--{name}: {colour};" for name, colour in palette.variables().items())
        for palette in (theme.LIGHT, theme.DARK)
    )
    return (
        f":root {{ color-scheme: light dark; --font: {theme.FONT}; --mono: {theme.MONOSPACE};"
        f"{light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
    )
