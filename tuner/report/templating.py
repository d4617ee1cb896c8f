"""Templates: how they are read, and how values look in them."""

from collections.abc import Callable
from typing import Any

import jinja2
from markupsafe import Markup

from tuner.figures import text


def script_safe(json_text: str) -> Markup:
    """JSON for a script element; `<`, `>`, `&` occur in strings alone, where escapes are equal."""
    for character in "<>&\u2028\u2029":
        json_text = json_text.replace(character, f"\\u{ord(character):04x}")
    return Markup(json_text)  # noqa: S704 - nothing that HTML knows is left in it


def _visible(value: object) -> object:
    """What Jinja prints: nothing unprintable but line ends."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return "\n".join(map(text.clean, value.expandtabs(2).split("\n")))
    return value


def template_environment(package: str, **filters: Callable[..., Any]) -> jinja2.Environment:
    """A package's templates: escaped, strict, with the product's looks of values as filters."""
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
