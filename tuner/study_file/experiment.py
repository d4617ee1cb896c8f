"""Experiments: one file that names several families becomes one study per family.

    family: [tfidf, rnn]
    family:                                  # the same, and what differs
      tfidf:
      rnn: {budget: {epochs: 10}, search: {cell: lstm}}

What stands beside `family` applies to all of them, as far as a family has the parameters it names.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from tuner.errors import Issue, SpecError, dotted
from tuner.study_file.code import USER_CODE_FAMILIES
from tuner.study_file.document import Loc
from tuner.study_file.messages import a, instead, quoted

Origins = Mapping[Loc, str]
Parameters = Callable[[str], Collection[str]]  # of a family; none of one that there is not

SECTIONS = (
    *("budget", "search", "forbidden", "enqueue"),
    *("sampler", "pruner", "training", "resources", "confirm", "learn_from"),
)  # that a family may have of its own
_LISTS = ("forbidden", "enqueue")  # of what names parameters


def is_experiment(data: Mapping[str, Any]) -> bool:
    """Whether the file names its families in a list or in sections."""
    return isinstance(data.get("family"), list | Mapping)


def divide(
    data: Mapping[str, Any], origins: Origins, parameters: Parameters
) -> Iterator[tuple[dict[str, Any], dict[Loc, str]]]:
    """Yield per family the content of its study, named EXPERIMENT-FAMILY, and its lines.

    SpecError, with the issues, if the families are not named correctly.
    """
    sections = _sections(data["family"])
    parameters_of = {family: frozenset(parameters(family)) for family in sections}
    lines = _Lines(origins)
    for place, (family, own) in enumerate(sections.items()):
        loc = ("family", place if isinstance(data["family"], list) else family)
        study = _StudyDraft(lines, f": {dotted(loc)}")
        for key, value in data.items():
            study.share(key, value, parameters_of[family], parameters_of.values())
        study.set(("family",), family, loc)
        if isinstance(name := data.get("name"), str):
            study.set(("name",), f"{name}-{family}", ("name",))
        for section, value in own.items():
            study.put(section, value, (*loc, section))
        yield study.data, study.origins


def _sections(section: Any) -> dict[str, Mapping[str, Any]]:
    """Family → the sections of the file that apply to it alone."""
    problems: list[Issue] = []
    if not section:
        problems.append(Issue(("family",), "must name at least one family"))
    entries = (
        [((at,), family, None) for at, family in enumerate(section)]
        if isinstance(section, list)
        else [((family,), family, own) for family, own in section.items()]
    )
    sections: dict[str, Mapping[str, Any]] = {}
    for at, family, own in entries:
        loc = ("family", *at)
        if not isinstance(family, str):
            problems.append(Issue(loc, f"must be the name of a family, is {a(family)}"))
        elif family in USER_CODE_FAMILIES:
            sentence = f"family {quoted(family)} brings its own data: give it a file of its own"
            problems.append(Issue(loc, sentence))
        elif family in sections:
            problems.append(Issue(loc, f"{quoted(family)} is named twice"))
        elif own is not None and not isinstance(own, Mapping):
            sentence = f"must hold what differs in this family, as `budget: ...`; is {a(own)}"
            problems.append(Issue(loc, sentence))
        else:
            sections[family] = own or {}
            problems.extend(
                Issue((*loc, key), f"unknown key {quoted(key)}{_instead(key)}", of_key=True)
                for key in sections[family]
                if key not in SECTIONS
            )
    if problems:
        raise SpecError(issues=problems)
    return sections


def _instead(key: str) -> str:
    if key in ("data", "objective"):
        return ": families are compared on the same data by the same metric"
    return instead(key, SECTIONS)


class _Lines:
    """The lines of everything in the file, by the section that holds it."""

    def __init__(self, origins: Origins) -> None:
        self._inside: dict[Loc, list[tuple[Loc, str]]] = {}
        for at, where in origins.items():
            for depth in range(1, len(at) + 1):
                self._inside.setdefault(at[:depth], []).append((at[depth:], where))

    def below(self, loc: Loc) -> list[tuple[Loc, str]]:
        """Return the locations at and below `loc`, relative to it, with their lines."""
        return self._inside.get(loc, [])


class _StudyDraft:
    """The study of one family while it is assembled."""

    def __init__(self, lines: _Lines, label: str) -> None:
        """`label` follows the line number of what applies to this family alone."""
        self.data: dict[str, Any] = {}
        self.origins: dict[Loc, str] = {}
        self._lines = lines
        self._label = label

    def share(
        self,
        key: str,
        value: Any,
        own_parameters: Collection[str],
        all_parameters: Collection[Collection[str]],
    ) -> None:
        """Take over what applies to all families, except parameters that only others have."""

        def is_passed_over(names: Collection[str]) -> bool:
            return not _all_in(names, own_parameters) and any(
                _all_in(names, other) for other in all_parameters
            )

        if key == "search" and isinstance(value, Mapping):
            self.data[key] = {}
            for name, parameter in value.items():
                if not is_passed_over([name]):
                    self.set((key, name), parameter, (key, name))
        elif key in _LISTS and isinstance(value, list):
            self.data[key] = []
            for place, entry in enumerate(value):
                if not (isinstance(entry, Mapping) and is_passed_over(entry)):
                    self._locate((key, len(self.data[key])), (key, place))
                    self.data[key].append(entry)
        elif key != "family":
            self.set((key,), value, (key,))

    def put(self, section: str, value: Any, source: Loc) -> None:
        """Let a section of this family override the shared one."""
        shared = self.data.get(section)
        if isinstance(shared, Mapping) and isinstance(value, Mapping):
            self.data[section] = dict(shared)
            for key, entry in value.items():
                self.set((section, key), entry, (*source, key), self._label)
        elif value is not None:
            self.set((section,), value, source, self._label)

    def set(self, loc: Loc, value: Any, source: Loc, label: str = "") -> None:
        """Set a section, or one key of a section, with the lines of `source`."""
        for old in [at for at in self.origins if at[: len(loc)] == loc]:
            del self.origins[old]
        section, *inner = loc
        if inner:
            self.data[str(section)][inner[0]] = value
        else:
            self.data[str(section)] = value
        self._locate(loc, source, label)

    def _locate(self, loc: Loc, source: Loc, label: str = "") -> None:
        self.origins |= {(*loc, *at): where + label for at, where in self._lines.below(source)}


def _all_in(names: Collection[str], parameters: Collection[str]) -> bool:
    return all(name in parameters for name in names)
