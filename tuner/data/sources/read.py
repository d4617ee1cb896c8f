"""Read the examples that a study file's data section describes."""

from dataclasses import replace
from pathlib import Path

from tuner.data.examples import Examples, as_numbers
from tuner.data.labels import note_suspicious, read_class, read_column_class, read_number
from tuner.data.prepared import PartName
from tuner.data.split import without_rare_classes
from tuner.study_file.data import PAIRS, DataSpec


def read(spec: DataSpec) -> dict[PartName, Examples]:
    """Read every file or folder that the study names; DataError if one is unfit.

    `train` is the training part, or what the missing parts are split off from.
    """
    examples = _read_source(spec)
    if spec.is_regression:
        return {name: as_numbers(part) for name, part in examples.items()}
    if spec.source in PAIRS:
        return examples
    if spec.min_class is not None:
        examples = without_rare_classes(examples, spec.min_class)
    return {
        name: replace(part, notes=(*part.notes, *note_suspicious(part.labels, part.unit)))
        for name, part in examples.items()
    }


def _read_source(spec: DataSpec) -> dict[PartName, Examples]:
    read_label = read_number if spec.is_regression else read_column_class
    if spec.source in ("digits", "mnist5k"):
        from tuner.data.sources import packaged

        return {"train": packaged.read(spec.source)}
    if spec.source == "cmudict":
        from tuner.data.sources import pairs

        return {"train": pairs.sample(pairs.cmudict(spec), spec.examples)}
    files: dict[PartName, Path | None] = {
        "train": spec.path,
        "validation": spec.validation_path,
        "test": spec.test_path,
    }
    paths = {name: path for name, path in files.items() if path is not None}
    if spec.source == "images":
        from tuner.data.sources import image_folder

        read_folder_name = read_number if spec.is_regression else read_class
        return {**image_folder.read(paths, spec, read_folder_name)}
    if spec.source == "npz":
        from tuner.data.sources import npz

        return {**npz.read(paths, read_label)}
    if spec.source == "pairs":
        from tuner.data.sources import pairs

        parts = {name: pairs.read(path, spec) for name, path in paths.items()}
        return {**parts, "train": pairs.sample(parts["train"], spec.examples)}
    from tuner.data.sources import table

    return {name: table.read(path, spec, read_label) for name, path in paths.items()}
