"""YAML text → plain values, with the line of each one.

A deliberately small YAML 1.2: mappings with text keys, lists and plain values. Anchors, aliases,
merge keys, tags and further documents are refused with a sentence, so no file is larger in memory
than on disk and none creates an object. Built on ruamel's events rather than its constructor,
because only these carry the line of every value.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from tuner.study_file.messages import decimal_comma, quoted

MAX_DEPTH = 20  # sections within sections
MAX_EXACT = 2**53  # beyond, floats skip whole numbers
MAX_VALUES = 20_000  # about a second of parsing

Loc = tuple[str | int, ...]

_INT = re.compile(r"[-+]?[0-9]+(_[0-9]+)*")
_POWER = re.compile(r"[-+]?[0-9]+[eE]\+?[0-9]{1,2}")  # 1e3: without a point, a whole number
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_DRIVE = re.compile(r"[A-Za-z]:[^/]")
_ESCAPED = "\t\n\r\a\b\v\f\x1b\0"  # what the escapes of a path's backslashes become
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
# what ruamel's scanner says → what the user did, in the order in which they are tried
_SENTENCES = (
    (r"mapping values are not allowed", "there is a second `:` here, or the indentation is wrong"),
    (r"'\\t'", "there is a tab; indent with spaces"),
    (r"character '(.+)' that cannot start", r"text that starts with `\1` must be in quotes"),
    (r"end of stream|document separator", "a quotation mark is opened and never closed"),
    (r"expected the node content, but found '<stream end>'", "a bracket is opened, never closed"),
    (r"expected ',' or '(.)'", r"a `,` or the closing `\1` is missing"),
    (r"expected <block end>", "the indentation does not fit the lines above"),
    (r"could not find expected ':'", "a key is not followed by `:`"),
    (
        r"unknown escape character '?(.+?)'?$",
        r"`\\\1` is no escape; write a Windows path in single quotes",
    ),
    (
        r"expected escape sequence",
        r"in double quotes `\\` begins an escape; write a Windows path in single quotes",
    ),
)


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed text."""

    data: Any
    lines: dict[Loc, int]  # 1-based, of each value's key or list entry
    problems: list[tuple[int, str]] = field(default_factory=list)  # line, what is wrong


class NotYamlError(Exception):
    """The text cannot be read any further; `line` is None if it is unknown."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def parse(text: str) -> Document:
    """Parse one document; NotYamlError if the text as a whole is not YAML."""
    _refuse_control_characters(text)
    try:
        return _Builder(YAML(typ="safe", pure=True).parse(text)).build()
    except NotYamlError:
        raise
    except MarkedYAMLError as error:
        mark = error.problem_mark
        problem = str(error.problem or "")
        # an unclosed quote or bracket is only noticed at the end; users look for where it begins
        if error.context_mark is not None and re.search("end of stream|expected ','", problem):
            mark = error.context_mark
        raise NotYamlError(_sentence(problem), mark.line + 1 if mark else None) from None
    except Exception as error:  # ruamel's scanner leaks ValueErrors and others on hostile text
        raise NotYamlError(_sentence(str(error).partition("\n")[0])) from None


def _sentence(problem: str) -> str:
    for pattern, sentence in _SENTENCES:
        if match := re.search(pattern, problem):
            return f"is not valid YAML: {match.expand(sentence)}"
    return f"is not valid YAML: {quoted(problem)[1:-1]}"


def _refuse_control_characters(text: str) -> None:
    for number, line in enumerate(text.split("\n"), start=1):
        for character in line.removesuffix("\r"):
            if character != "\t" and unicodedata.category(character) in ("Cc", "Cs"):
                raise NotYamlError(f"there is a control character, {_code(character)}", number)


def _code(character: str) -> str:
    return f"U+{ord(character):04X}"


class _Builder:
    """Turns the events of one document into values and notes lines and problems."""

    def __init__(self, events: Iterator[Event]) -> None:
        self.events = events
        self.document = Document(data=None, lines={})
        self.values = 0
        self.documents = 0

    def build(self) -> Document:
        data: Any = None
        for event in self.events:
            if isinstance(event, DocumentStartEvent):
                self.documents += 1
                if self.documents > 1:
                    raise NotYamlError("has a second document after `---`", _line(event))
            elif isinstance(
                event, ScalarEvent | MappingStartEvent | SequenceStartEvent | AliasEvent
            ):
                data = self._value(event, ())
        return Document(data, self.document.lines, self.document.problems)

    def _value(self, event: Any, loc: Loc) -> Any:
        self.values += 1
        if self.values > MAX_VALUES:
            raise NotYamlError(f"has more than {MAX_VALUES} values", _line(event))
        if len(loc) > MAX_DEPTH:
            raise NotYamlError(f"is nested more than {MAX_DEPTH} levels deep", _line(event))
        if isinstance(event, AliasEvent) or event.anchor:
            sign = "*" if isinstance(event, AliasEvent) else "&"
            name = quoted(f"{sign}{event.anchor}")
            self._problem(event, f"anchors and aliases ({name}) are not supported; repeat the text")
        if isinstance(event, AliasEvent):
            return None
        if event.tag:
            tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
            self._problem(event, f"tags ({quoted(tag)}) are not supported; remove it")
        if isinstance(event, MappingStartEvent):
            return self._mapping(loc)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(loc)
        return self._scalar(event)

    def _mapping(self, loc: Loc) -> dict[str, Any]:
        out: dict[str, Any] = {}
        before = ""  # the text of the value before this key
        while not isinstance(event := next(self.events), MappingEndEvent):
            line = _line(event)
            if not isinstance(event, ScalarEvent):
                self._problem(event, "a list or section cannot be a key")
            key = self._value(event, (*loc, "?"))
            if not isinstance(key, str):
                if isinstance(event, ScalarEvent):
                    sentence = f"the key {quoted(event.value)} must be text; put it in quotes"
                    if hint := decimal_comma(f"{before},{event.value}"):
                        sentence = f"a comma ends the value {before}{hint}"
                    elif not event.value:
                        sentence = "there is no key before the `:`"
                    self._problem(event, sentence)
                key = "?"
            elif key in out:
                first = self.document.lines[*loc, key]
                self._problem(event, f"the key {quoted(key)} appears twice (first in line {first})")
            self.document.lines[*loc, key] = line
            value = next(self.events)
            before = value.value if isinstance(value, ScalarEvent) else ""
            out[key] = self._value(value, (*loc, key))
        return out

    def _sequence(self, loc: Loc) -> list[Any]:
        out: list[Any] = []
        while not isinstance(event := next(self.events), SequenceEndEvent):
            here = (*loc, len(out))
            self.document.lines[here] = _line(event)
            out.append(self._value(event, here))
        return out

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        plain, _ = event.implicit
        if not plain:
            # escapes in double quotes could smuggle in what no file may contain directly
            for character in text:
                if _DRIVE.match(text) and character in _ESCAPED:
                    sentence = (
                        "in double quotes `\\` begins an escape; write a Windows path in single "
                        "quotes"
                    )
                    self._problem(event, sentence)
                    break
                if character not in "\t\n" and unicodedata.category(character) in ("Cc", "Cs"):
                    self._problem(event, f"there is a control character, {_code(character)}")
                    break
            return text
        try:
            return scalar(text)
        except ValueError:
            self._problem(event, f"the number {quoted(text)} is too long")
            return 0

    def _problem(self, event: Event, sentence: str) -> None:
        self.document.problems.append((_line(event), sentence))


def _line(event: Event) -> int:
    return int(event.start_mark.line) + 1


def scalar(text: str) -> Any:
    """Return an unquoted word as YAML 1.2 reads it; ValueError for an absurdly long number."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        value = int(text)
        if not -(2**63) <= value < 2**63:
            raise ValueError(text)
        return value
    if _FLOAT.fullmatch(text):
        number = float(text)
        return int(number) if _POWER.fullmatch(text) and abs(number) <= MAX_EXACT else number
    if re.fullmatch("0o[0-7]{1,20}", text):
        return int(text[2:], 8)
    if re.fullmatch("0x[0-9a-fA-F]{1,15}", text):
        return int(text[2:], 16)
    return text
