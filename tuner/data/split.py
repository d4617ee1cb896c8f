"""Examples → training, validation and test part: fixed, stratified, without copies across parts.

Examples are taken in the order of a hash of seed and content, so the split is the same on every
machine and with every version of numpy, and does not depend on the order of rows. Examples with the
same input form a group that stays together: a text of the training part never comes up again in the
test part, whatever its label there.
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


class Selection(NamedTuple, Generic[E]):
    """The examples of one part."""

    examples: E
    rows: Sequence[int]  # ascending

    def labels(self) -> list[str]:
        """Their labels, in the order of `rows`."""
        return [self.examples.labels[row] for row in self.rows]

    def values(self) -> list[float]:
        """Their numbers, in the order of `rows`; IndexError if they have classes."""
        return [self.examples.values[row] for row in self.rows]

    def keys(self) -> list[bytes]:
        """Their inputs' keys, in the order of `rows`."""
        return [self.examples.keys[row] for row in self.rows]


def split(sources: Mapping[PartName, E], shares: Split) -> dict[PartName, Selection[E]]:
    """Make the three parts; those without a source of their own are split off the training data.

    Shares are relative to the examples that are split. DataError if a part would lack a class, or
    has one that the training part lacks.
    """
    examples = sources["train"]
    _check_classes(examples)
    split_off: dict[PartName, float] = {}
    if "test" not in sources:
        split_off["test"] = shares.test
    if "validation" not in sources:
        split_off["validation"] = shares.validation
    rows = _split_rows(examples, split_off, shares.seed)
    selections: dict[PartName, Selection[E]] = {}
    for name in PARTS:
        source = sources.get(name, examples)
        selections[name] = Selection(
            source, rows[name] if name in rows else range(len(source.labels))
        )
    classes = set(selections["train"].labels())
    for part in selections.values():
        if unknown := sorted(set(part.labels()) - classes):
            close = nearest(unknown[0], classes)
            hint = "" if close is None else f" ({quoted(unknown[0])} may mean {quoted(close)})"
            raise DataError(
                f"{part.examples.where}: has labels that {examples.where} lacks: "
                f"{listed(unknown)}; only classes of the training part can be learned{hint}"
            )
    return selections


def without_rare_classes(sources: Mapping[PartName, E], minimum: int) -> dict[PartName, E]:
    """Leave out the classes of which the training part has fewer than `minimum` different inputs.

    DataError if no class remains.
    """
    train = sources["train"]
    sizes = Counter(label for label, _ in set(zip(train.labels, train.keys, strict=True)))
    rare = sorted((name for name in sizes if sizes[name] < minimum), key=lambda name: sizes[name])
    if not rare:
        return dict(sources)
    unit = f"different {train.unit}"
    if len(rare) == len(sizes):
        largest = max(sizes.values())
        raise DataError(
            f"{train.where}: no class has {counted(minimum, unit)}, as `min_class` asks; the "
            f"largest has {largest:,}"
        )
    verb = "class was" if len(rare) == 1 else "classes were"
    names = ", ".join(f"{quoted(n)} ({counted(sizes[n], train.unit)})" for n in rare[:5])
    more = ", …" if len(rare) > 5 else ""
    reduced: dict[PartName, E] = {}
    dropped = set(rare)
    for part, examples in sources.items():
        rows = [row for row, label in enumerate(examples.labels) if label not in dropped]
        left_out = counted(len(examples.labels) - len(rows), examples.unit)
        note = f"{left_out} of classes that are left out"
        if part == "train":
            what = f"{len(rare):,} {verb} left out, with fewer than {counted(minimum, unit)}"
            note = f"{what}: {names}{more}"
        reduced[part] = select(examples, rows, note)
    return reduced


def sort_classes(labels: Iterable[str]) -> tuple[str, ...]:
    """Sort the different labels: whole numbers by value, everything else alphabetically."""
    names = sorted(set(labels))
    if all(re.fullmatch(r"[+-]?[0-9]{1,18}", name) for name in names):
        names.sort(key=int)
    return tuple(names)


def note_copies(selections: Mapping[PartName, Selection[E]]) -> list[str]:
    """Return a note for each two parts that share inputs."""
    notes = []
    keys = {name: part.keys() for name, part in selections.items()}
    pairs: tuple[tuple[PartName, PartName], ...] = (
        ("validation", "train"),
        ("test", "train"),
        ("test", "validation"),
    )
    for name, earlier in pairs:
        earlier_keys = set(keys[earlier])
        copies = sum(key in earlier_keys for key in keys[name])
        if copies:
            unit = selections["train"].examples.unit
            notes.append(
                f"{counted(copies, unit)} of the {len(keys[name]):,} in the {name} part "
                f"{'is' if copies == 1 else 'are'} also in the {earlier} part; "
                f"results on it look better than they are"
            )
    return notes


def _check_classes(examples: Examples) -> None:
    names = set(examples.labels)
    if len(names) < 2 and names != {UNCLASSED}:
        number = len(examples.labels)
        subject = f"all {counted(number, examples.unit)} have"
        if number == 1:
            subject = f"its only {examples.unit} has"
        raise DataError(
            f"{examples.where}: {subject} the label {quoted(next(iter(names)))}; at least 2 "
            "classes are needed"
        )


def _split_rows(
    examples: Examples, shares: Mapping[PartName, float], seed: int
) -> dict[PartName, list[int]]:
    """Assign rows to every part in `shares`, and the remaining ones to the training part."""
    rows: dict[PartName, list[int]] = {"train": []}
    for name in shares:
        rows[name] = []
    owed = dict.fromkeys(shares, 0.0)  # rows that rounding took from earlier classes
    groups = _group_rows(examples, seed)
    for label, size in sorted(Counter(examples.labels).items()):
        remaining = groups.get(label, [])
        if len(remaining) < len(rows):
            raise DataError(_too_few(examples, label, size, len(remaining), len(rows)))
        total = sum(map(len, remaining))
        for needed, (name, share) in zip(range(len(shares), 0, -1), shares.items(), strict=True):
            exact = share * total
            target = max(1, math.floor(exact + owed[name] + 0.5))
            owed[name] = max(-0.5, exact + owed[name] - target)
            taken, remaining = _take(remaining, target, keep=needed)
            rows[name] += [row for group in taken for row in group]
        rows["train"] += [row for group in remaining for row in group]
    return {name: sorted(part) for name, part in rows.items()}


def _take(
    groups: list[list[int]], target: int, keep: int
) -> tuple[list[list[int]], list[list[int]]]:
    """Take groups of `target` rows or slightly fewer, leaving at least `keep` groups."""
    taken: list[list[int]] = []
    remaining: list[list[int]] = []
    room = target
    for position, group in enumerate(groups):
        if len(group) <= room and len(remaining) + len(groups) - position > keep:
            taken.append(group)
            room -= len(group)
        else:
            remaining.append(group)
    if not taken:  # every group is larger than the part, which needs one nevertheless
        smallest = min(remaining, key=len)
        remaining.remove(smallest)
        taken.append(smallest)
    return taken, remaining


def _group_rows(examples: Examples, seed: int) -> dict[str, list[list[int]]]:
    """Group rows with the same input, by class, in the order in which they are taken.

    If the rows of a group disagree about the label, it belongs to the most frequent one.
    """
    by_key: dict[bytes, list[int]] = {}
    for row, key in enumerate(examples.keys):
        by_key.setdefault(key, []).append(row)
    groups: dict[str, list[list[int]]] = {}
    prefix = f"{seed}:".encode()
    for key in sorted(by_key, key=lambda key: hashlib.sha256(prefix + key).digest()):
        counts = Counter(examples.labels[row] for row in by_key[key])
        label = min(counts, key=lambda name: (-counts[name], name))
        groups.setdefault(label, []).append(by_key[key])
    return groups


def _too_few(examples: Examples, label: str, size: int, different: int, needed: int) -> str:
    number = {2: "two", 3: "three"}[needed]
    copies = "" if different == size else f", but only {counted(different, 'different input')}"
    subject, kind = (f"class {quoted(label)} ", "a stratified") if label != UNCLASSED else ("", "a")
    sentence = (
        f"{examples.where}: {subject}has {counted(size, examples.unit)}{copies}; "
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
            hint += " To predict numbers, set `task: regression`"
        sentence += f" ({hint})"
    return sentence


def _is_number(label: str) -> bool:
    try:
        return math.isfinite(float(label))
    except ValueError:
        return False
