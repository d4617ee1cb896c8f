"""Text as PostgreSQL can hold it: it refuses NUL characters and lone surrogates."""


def is_storable(text: str) -> bool:
    """Whether PostgreSQL's text can hold this."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def replace_unstorable(text: str) -> str:
    """The text with a replacement character for each that PostgreSQL cannot hold."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
