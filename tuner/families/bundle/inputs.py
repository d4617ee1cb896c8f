"""Examples of the validation part as files that a bundle's `predict.py` reads.

What it prints for them must be what the code that trained the weights predicts.
"""

import csv
from pathlib import Path

from tuner.data import PartName, PreparedData
from tuner.study_file.data import DataSpec

PART: PartName = "validation"


def write(spec: DataSpec, data: PreparedData, rows: int, path: Path) -> None:
    """Write the first rows of the part as a CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if data.kind == "images":
            for image in data.part(PART).inputs[:rows]:
                writer.writerow(image.flatten().tolist())
            return
        writer.writerow([spec.text])
        texts = data.vocabulary if data.kind == "corpus" else data.texts(PART)
        writer.writerows([text] for text in texts[:rows])
