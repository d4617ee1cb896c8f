"""The data section of a study file → the reader of its source."""

from dataclasses import replace
from pathlib import Path

from tuner.data.examples import Examples, numbered
from tuner.data.labels import class_name, column_class_name, notes, number_name
from tuner.data.prepared import PartName
from tuner.data.split import without_rare_classes
from tuner.study_file.data import PAIRS, DataSpec


def read(spec: DataSpec) -> dict[PartName, Examples]:
    """The examples of every file or folder that is given; DataError if one is unfit.

    The first is the training part, or what it is split off from.
    """
    examples = _read(spec)
    if spec.is_regression:
        return {name: numbered(part) for name, part in examples.items()}
    if spec.source in PAIRS:
        return examples
    if spec.min_class is not None:
        examples = without_rare_classes(examples, spec.min_class)
    return {
        name: replace(part, notes=(*part.notes, *notes(part.labels, part.unit)))
        for name, part in examples.items()
    }


def _read(spec: DataSpec) -> dict[PartName, Examples]:
    name = number_name if spec.is_regression else column_class_name
    if spec.source in ("digits", "mnist5k"):
        from tuner.data.sources import packaged

        return {"train": packaged.read(spec.source)}
    if spec.source == "cmudict":
        from tuner.data.sources import pairs

        return {"train": pairs.drawn(pairs.cmudict(spec), spec.examples)}
    paths: dict[PartName, Path | None] = {
        "train": spec.path,
        "validation": spec.validation_path,
        "test": spec.test_path,
    }
    given = {name: path for name, path in paths.items() if path is not None}
    if spec.source == "images":
        from tuner.data.sources import image_folder

        folder_name = number_name if spec.is_regression else class_name
        return {**image_folder.read(given, spec, folder_name)}
    if spec.source == "npz":
        from tuner.data.sources import npz

        return {**npz.read(given, name)}
    if spec.source == "pairs":
        from tuner.data.sources import pairs

        read_all = {name: pairs.read(path, spec) for name, path in given.items()}
        return {**read_all, "train": pairs.drawn(read_all["train"], spec.examples)}
    from tuner.data.sources import table

    return {n: table.read(path, spec, name) for n, path in given.items()}
