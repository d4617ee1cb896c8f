"""Examples → training, validation and test part: fixed, stratified, without copies across parts.

The order in which examples are drawn is that of a hash of seed and content, so it is the same on
every machine and with every version of numpy, and does not change when rows change places.
Examples with the same input form a group that stays together: a text that stands in the training
part is never asked again in the test part, whatever its label there.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from tuner.data.examples import UNCLASSED, Examples, select
from tuner.data.prepared import PARTS, PartName
from tuner.errors import DataError
from tuner.study_file.data import Split
from tuner.study_file.messages import counted, listed, nearest, quoted

E = TypeVar("E", bound=Examples)


class Chosen(NamedTuple, Generic[E]):
    """The examples of one part."""

    examples: E
    rows: Sequence[int]  # ascending

    def labels(self) -> list[str]:
        """Their labels, in the order of `rows`."""
        return [self.examples.labels[row] for row in self.rows]

    def values(self) -> list[float]:
        """Their numbers, in the order of `rows`; IndexError where they have classes."""
        return [self.examples.values[row] for row in self.rows]

    def keys(self) -> list[bytes]:
        """Their inputs' keys, in the order of `rows`."""
        return [self.examples.keys[row] for row in self.rows]


def parts(given: Mapping[PartName, E], split: Split) -> dict[PartName, Chosen[E]]:
    """The three parts; those that are not given are split off the training examples.

    A share is of the examples that are split. DataError if a part would lack a class, or has one
    that the training part lacks.
    """
    examples = given["train"]
    _check_classes(examples)
    shares: dict[PartName, float] = {}
    if "test" not in given:
        shares["test"] = split.test
    if "validation" not in given:
        shares["validation"] = split.validation
    rows = _split(examples, shares, split.seed)
    chosen: dict[PartName, Chosen[E]] = {}
    for name in PARTS:
        source = given.get(name, examples)
        chosen[name] = Chosen(source, rows[name] if name in rows else range(len(source.labels)))
    known = set(chosen["train"].labels())
    for part in chosen.values():
        if unseen := sorted(set(part.labels()) - known):
            close = nearest(unseen[0], known)
            hint = "" if close is None else f" ({quoted(unseen[0])} may mean {quoted(close)})"
            raise DataError(
                f"{part.examples.where}: has labels that {examples.where} lacks: "
                f"{listed(unseen)}; a class must be in the training part to be learned{hint}"
            )
    return chosen


def without_rare_classes(given: Mapping[PartName, E], least: int) -> dict[PartName, E]:
    """The parts without the classes of which the training part has fewer than `least` inputs.

    DataError if that leaves none.
    """
    train = given["train"]
    sizes = Counter(label for label, _ in set(zip(train.labels, train.keys, strict=True)))
    rare = sorted((name for name in sizes if sizes[name] < least), key=lambda name: sizes[name])
    if not rare:
        return dict(given)
    unit = f"different {train.unit}"
    if len(rare) == len(sizes):
        largest = max(sizes.values())
        raise DataError(
            f"{train.where}: no class has {counted(least, unit)}, as `min_class` asks; the largest "
            f"has {largest:,}"
        )
    verb = "class was" if len(rare) == 1 else "classes were"
    names = ", ".join(f"{quoted(n)} ({counted(sizes[n], train.unit)})" for n in rare[:5])
    left, kept = set(rare), dict[PartName, E]()
    for part, examples in given.items():
        rows = [row for row, label in enumerate(examples.labels) if label not in left]
        left_out = counted(len(examples.labels) - len(rows), examples.unit)
        note = f"{left_out} of classes that are left out"
        if part == "train":
            more = ", …" if len(rare) > 5 else ""
            what = f"{len(rare):,} {verb} left out, with fewer than {counted(least, unit)}"
            note = f"{what}: {names}{more}"
        kept[part] = select(examples, rows, note)
    return kept


def classes(labels: Iterable[str]) -> tuple[str, ...]:
    """The different labels, whole numbers by value, everything else by the alphabet."""
    names = sorted(set(labels))
    if all(re.fullmatch(r"[+-]?[0-9]{1,18}", name) for name in names):
        names.sort(key=int)
    return tuple(names)


def notes(chosen: Mapping[PartName, Chosen[E]]) -> list[str]:
    """What a user should know about given parts: inputs that stand in two of them."""
    found = []
    keys = {name: part.keys() for name, part in chosen.items()}
    pairs: tuple[tuple[PartName, PartName], ...] = (
        ("validation", "train"),
        ("test", "train"),
        ("test", "validation"),
    )
    for name, earlier in pairs:
        known = set(keys[earlier])
        copies = sum(key in known for key in keys[name])
        if copies:
            unit = chosen["train"].examples.unit
            found.append(
                f"{counted(copies, unit)} of the {len(keys[name]):,} in the {name} part "
                f"{'is' if copies == 1 else 'are'} in the {earlier} part, too; "
                f"results on it look better than they are"
            )
    return found


def _check_classes(examples: Examples) -> None:
    names = set(examples.labels)
    if len(names) < 2 and names != {UNCLASSED}:
        number = len(examples.labels)
        who = f"all {counted(number, examples.unit)} have"
        if number == 1:
            who = f"its only {examples.unit} has"
        raise DataError(
            f"{examples.where}: {who} the label {quoted(next(iter(names)))}; at least 2 classes "
            "are needed"
        )


def _split(
    examples: Examples, shares: Mapping[PartName, float], seed: int
) -> dict[PartName, list[int]]:
    """Rows of every part in `shares`, and what is left as the training part."""
    rows: dict[PartName, list[int]] = {"train": []}
    for name in shares:
        rows[name] = []
    owed = dict.fromkeys(shares, 0.0)  # rows that rounding took from earlier classes
    groups = _groups(examples, seed)
    for label, size in sorted(Counter(examples.labels).items()):
        left = groups.get(label, [])
        if len(left) < len(rows):
            raise DataError(_too_few(examples, label, size, len(left), len(rows)))
        total = sum(map(len, left))
        for missing, (name, share) in zip(range(len(shares), 0, -1), shares.items(), strict=True):
            exact = share * total
            target = max(1, math.floor(exact + owed[name] + 0.5))
            owed[name] = max(-0.5, exact + owed[name] - target)
            taken, left = _take(left, target, keep=missing)
            rows[name] += [row for group in taken for row in group]
        rows["train"] += [row for group in left for row in group]
    return {name: sorted(found) for name, found in rows.items()}


def _take(
    groups: list[list[int]], target: int, keep: int
) -> tuple[list[list[int]], list[list[int]]]:
    """Groups of together `target` rows or a little less, and the rest, `keep` groups at least."""
    taken: list[list[int]] = []
    left: list[list[int]] = []
    room = target
    for position, group in enumerate(groups):
        if len(group) <= room and len(left) + len(groups) - position > keep:
            taken.append(group)
            room -= len(group)
        else:
            left.append(group)
    if not taken:  # every group is larger than the part; it needs one all the same
        smallest = min(left, key=len)
        left.remove(smallest)
        taken.append(smallest)
    return taken, left


def _groups(examples: Examples, seed: int) -> dict[str, list[list[int]]]:
    """Class → groups of rows with the same input, in the order in which they are drawn.

    A group whose rows disagree about the label belongs to the class that most of them name.
    """
    by_key: dict[bytes, list[int]] = {}
    for row, key in enumerate(examples.keys):
        by_key.setdefault(key, []).append(row)
    drawn: dict[str, list[list[int]]] = {}
    prefix = f"{seed}:".encode()
    for key in sorted(by_key, key=lambda key: hashlib.sha256(prefix + key).digest()):
        named = Counter(examples.labels[row] for row in by_key[key])
        label = min(named, key=lambda name: (-named[name], name))
        drawn.setdefault(label, []).append(by_key[key])
    return drawn


def _too_few(examples: Examples, label: str, size: int, different: int, needed: int) -> str:
    number = {2: "two", 3: "three"}[needed]
    copies = "" if different == size else f", only {different:,} of them with an input of its own"
    who, kind = (f"class {quoted(label)} ", "a stratified") if label != UNCLASSED else ("", "a")
    sentence = (
        f"{examples.where}: {who}has {counted(size, examples.unit)}{copies}; "
        f"{kind} split into {number} parts needs at least {needed}"
    )
    if label != UNCLASSED:
        sentence += f", or `min_class: {needed}` in the data section, which leaves such classes out"
    if hints := [note for note in examples.notes if quoted(label) in note]:
        sentence += f" ({'; '.join(hints)})"
    names = len(set(examples.labels))
    if names > 20 and names > len(examples.labels) / 3:
        rows = counted(len(examples.labels), examples.unit)
        hint = f"there are {names:,} different labels in {rows}: is that the right column?"
        if all(map(_is_number, set(examples.labels))):
            hint += " Numbers are predicted with `task: regression`"
        sentence += f" ({hint})"
    return sentence


def _is_number(label: str) -> bool:
    try:
        return math.isfinite(float(label))
    except ValueError:
        return False
