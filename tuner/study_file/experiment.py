"""An experiment: one file that names several families becomes a study file of each of them.

    family: [tfidf, rnn]
    family:                                  # the same, and what differs
      tfidf:
      rnn: {budget: {epochs: 10}, search: {cell: lstm}}

What stands beside `family` holds for every one of them, as far as a family has the parameters that
it speaks of.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from tuner.errors import Issue, SpecError, dotted
from tuner.study_file.code import OWN
from tuner.study_file.document import Loc
from tuner.study_file.messages import a, instead, quoted

Origins = Mapping[Loc, str]
Parameters = Callable[[str], Collection[str]]  # of a family; none of one that there is not

SECTIONS = (
    *("budget", "search", "forbidden", "enqueue"),
    *("sampler", "pruner", "training", "resources", "confirm"),
)  # that a family may have of its own
_LISTS = ("forbidden", "enqueue")  # of what names parameters


def is_experiment(data: Mapping[str, Any]) -> bool:
    """Whether the file names its families in a list or in sections."""
    return isinstance(data.get("family"), list | Mapping)


def divided(
    data: Mapping[str, Any], origins: Origins, parameters: Parameters
) -> Iterator[tuple[dict[str, Any], dict[Loc, str]]]:
    """Of each family the data of its study, named EXPERIMENT-FAMILY, and where it was written.

    SpecError, with the issues, where the families are not named as they can be.
    """
    sections = _sections(data["family"])
    known = {family: frozenset(parameters(family)) for family in sections}
    written = _Written(origins)
    for place, (family, own) in enumerate(sections.items()):
        loc = ("family", place if isinstance(data["family"], list) else family)
        one = _Study(written, f": {dotted(loc)}")
        for key, value in data.items():
            one.share(key, value, known[family], known.values())
        one.set(("family",), family, loc)
        if isinstance(name := data.get("name"), str):
            one.set(("name",), f"{name}-{family}", ("name",))
        for section, value in own.items():
            one.put(section, value, (*loc, section))
        yield one.data, one.origins


def _sections(given: Any) -> dict[str, Mapping[str, Any]]:
    """Family → what the file says of it alone."""
    found: list[Issue] = []
    if not given:
        found.append(Issue(("family",), "must name at least one family"))
    entries = (
        [((at,), family, None) for at, family in enumerate(given)]
        if isinstance(given, list)
        else [((family,), family, own) for family, own in given.items()]
    )
    sections: dict[str, Mapping[str, Any]] = {}
    for at, family, own in entries:
        loc = ("family", *at)
        if not isinstance(family, str):
            found.append(Issue(loc, f"must be the name of a family, is {a(family)}"))
        elif family in OWN:
            sentence = f"family {quoted(family)} brings its own data: give it a file of its own"
            found.append(Issue(loc, sentence))
        elif family in sections:
            found.append(Issue(loc, f"{quoted(family)} is named twice"))
        elif own is not None and not isinstance(own, Mapping):
            sentence = f"must hold what differs in this family, as `budget: ...`; is {a(own)}"
            found.append(Issue(loc, sentence))
        else:
            sections[family] = own or {}
            found.extend(
                Issue((*loc, key), f"unknown key {quoted(key)}{_instead(key)}", of_key=True)
                for key in sections[family]
                if key not in SECTIONS
            )
    if found:
        raise SpecError(issues=found)
    return sections


def _instead(key: str) -> str:
    if key in ("data", "objective"):
        return ": families are compared on the same data by the same metric"
    return instead(key, SECTIONS)


class _Written:
    """Where everything in the file stands, by what it is part of."""

    def __init__(self, origins: Origins) -> None:
        self._inside: dict[Loc, list[tuple[Loc, str]]] = {}
        for at, where in origins.items():
            for depth in range(1, len(at) + 1):
                self._inside.setdefault(at[:depth], []).append((at[depth:], where))

    def inside(self, loc: Loc) -> list[tuple[Loc, str]]:
        """The locations from `loc` on, itself among them, and where they are."""
        return self._inside.get(loc, [])


class _Study:
    """The study of one family in the making."""

    def __init__(self, written: _Written, label: str) -> None:
        """`label` stands behind the line of what the file says of this family alone."""
        self.data: dict[str, Any] = {}
        self.origins: dict[Loc, str] = {}
        self._written = written
        self._label = label

    def share(
        self, key: str, value: Any, known: Collection[str], every: Collection[Collection[str]]
    ) -> None:
        """Take over what holds for all, but what other families alone have a parameter for."""

        def is_passed_over(names: Collection[str]) -> bool:
            return not _all_in(names, known) and any(_all_in(names, other) for other in every)

        if key == "search" and isinstance(value, Mapping):
            self.data[key] = {}
            for name, given in value.items():
                if not is_passed_over([name]):
                    self.set((key, name), given, (key, name))
        elif key in _LISTS and isinstance(value, list):
            self.data[key] = []
            for place, entry in enumerate(value):
                if not (isinstance(entry, Mapping) and is_passed_over(entry)):
                    self._locate((key, len(self.data[key])), (key, place))
                    self.data[key].append(entry)
        elif key != "family":
            self.set((key,), value, (key,))

    def put(self, section: str, value: Any, source: Loc) -> None:
        """Let what is said of this family alone hold over what is said of all."""
        shared = self.data.get(section)
        if isinstance(shared, Mapping) and isinstance(value, Mapping):
            self.data[section] = dict(shared)
            for key, given in value.items():
                self.set((section, key), given, (*source, key), self._label)
        elif value is not None:
            self.set((section,), value, source, self._label)

    def set(self, loc: Loc, value: Any, source: Loc, label: str = "") -> None:
        """Set a section or a key of one, as it was written at `source`."""
        for old in [at for at in self.origins if at[: len(loc)] == loc]:
            del self.origins[old]
        section, *inner = loc
        if inner:
            self.data[str(section)][inner[0]] = value
        else:
            self.data[str(section)] = value
        self._locate(loc, source, label)

    def _locate(self, loc: Loc, source: Loc, label: str = "") -> None:
        self.origins |= {(*loc, *at): where + label for at, where in self._written.inside(source)}


def _all_in(names: Collection[str], known: Collection[str]) -> bool:
    return all(name in known for name in names)
