"""The static files, read once: compressed, and addressed by what is in them.

All of them lie under one folder that is named after the content of all: scripts import each other
by relative paths, and a page never gets a new script beside an old one from its browser's cache.
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
# a sheet that pages ask for → the files that it is made of: each request of a first load costs time
SHEETS = {"base.css": ("base.css",), "plots.css": ("vendor/plotly.css", "plots.css")}
_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".svg": "image/svg+xml"}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Asset:
    """A static file in memory."""

    content: bytes
    compressed: bytes | None  # with gzip, where that makes it smaller
    media_type: str


@cache
def assets() -> dict[str, Asset]:
    """Path below `static` → the file."""
    found = dict(_read(files("tuner.dashboard") / "static", ""))
    for name, parts in SHEETS.items():
        joined = b"\n".join(found.pop(part).content for part in parts)
        found[name] = _asset(name, _theme().encode() + joined if name == "base.css" else joined)
    return found


@cache
def version() -> str:
    """Names all static files together."""
    digest = hashlib.sha256()
    for path, asset in sorted(assets().items()):
        digest.update(path.encode() + b"\0" + hashlib.sha256(asset.content).digest())
    return digest.hexdigest()[:12]


def url(path: str) -> str:
    """Where a page finds a static file; KeyError if there is none."""
    if path not in assets():
        raise KeyError(path)
    return f"/static/{version()}/{path}"


@router.get("/static/{_version}/{path:path}")
async def static(_version: str, path: str, request: Request) -> Response:
    """A static file; of an older version too, for pages that were open before."""
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


def _read(folder: Traversable, before: str) -> list[tuple[str, Asset]]:
    found = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _read(entry, f"{before}{entry.name}/")
        else:
            found.append((f"{before}{entry.name}", _asset(entry.name, entry.read_bytes())))
    return found


def _asset(name: str, content: bytes) -> Asset:
    suffix = f".{name.rpartition('.')[2]}"
    kind = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    compressed = gzip.compress(content, 9, mtime=0) if kind.startswith(_COMPRESSES) else None
    if compressed is not None and len(compressed) >= len(content):
        compressed = None
    return Asset(content, compressed, kind)


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
