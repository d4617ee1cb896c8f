"""Command lines for users to paste, quoted for bash."""

import shlex
from collections.abc import Sequence


def command(name: str, *arguments: str, options: Sequence[str] = ()) -> str:
    """Build a line such as `tuner trials 'my study' --state failed`; `name` may have two words."""
    return line("tuner", *words(name, *arguments, options=options))


def words(name: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
    """The unquoted words of such a command, without `tuner`."""
    if any(argument.startswith("-") for argument in arguments):  # it would be read as an option
        return [*name.split(), *options, "--", *arguments]
    return [*name.split(), *arguments, *options]


def line(*arguments: str) -> str:
    """Join words into one line; invisible characters are escaped."""
    return " ".join(map(quote, arguments))


def quote(word: str) -> str:
    r"""Quote a word for bash: `word`, `'my study'`, `$'two\nlines'`."""
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(map(_escape, word)) + "'"


def _escape(character: str) -> str:
    if character in "\\'":
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    # bash reads \xHH as a byte, which is a character only below 0x80
    return f"\\x{code:02x}" if code < 0x80 else f"\\U{code:08x}"
