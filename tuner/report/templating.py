"""Templates: how they are loaded, and how values look in them."""

from collections.abc import Callable
from typing import Any

import jinja2
from markupsafe import Markup

from tuner.figures import text


def script_safe(json_text: str) -> Markup:
    """Escape JSON for a script element; `<`, `>` and `&` occur only in its strings."""
    for character in "<>&\u2028\u2029":
        json_text = json_text.replace(character, f"\\u{ord(character):04x}")
    return Markup(json_text)  # noqa: S704 - no character with a meaning in HTML is left


def _visible(value: object) -> object:
    """Replace unprintable characters, but not line ends, in what Jinja prints."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return "\n".join(map(text.clean, value.expandtabs(2).split("\n")))
    return value


def template_environment(package: str, **filters: Callable[..., Any]) -> jinja2.Environment:
    """Load a package's templates: escaped, strict, with filters that format values."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "counted": text.count,
        "number": text.number,
        "param": text.value,
        "short": text.short,
        "duration": text.duration,
        "memory": text.memory,
        **filters,
    }
    return environment
