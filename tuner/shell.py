"""Command lines for users to paste, every word quoted as bash reads it."""

import shlex
from collections.abc import Sequence


def command(name: str, *arguments: str, options: Sequence[str] = ()) -> str:
    """`tuner trials 'my study' --state failed`; `name` may be of two words, as `db upgrade`."""
    return line("tuner", *words(name, *arguments, options=options))


def words(name: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
    """The words of such a command behind the program's own, unquoted."""
    if any(argument.startswith("-") for argument in arguments):  # it would be taken for an option
        return [*name.split(), *options, "--", *arguments]
    return [*name.split(), *arguments, *options]


def line(*given: str) -> str:
    """Words as one line; it holds nothing that cannot be seen."""
    return " ".join(map(quote, given))


def quote(word: str) -> str:
    r"""A word for bash: `it` as it is, `'my study'`, `$'two\nlines'`."""
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(map(_escape, word)) + "'"


def _escape(character: str) -> str:
    if character in "\\'":
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    # bash reads \xHH as a byte, which is a character below 0x80 alone
    return f"\\x{code:02x}" if code < 0x80 else f"\\U{code:08x}"
