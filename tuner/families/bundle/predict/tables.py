"""Read texts from tables, from files with one per line, or from a pipe, as for training."""

import csv
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, cast

LONGEST = 1_000_000  # characters of a cell
SEPARATORS = {".csv": ",;\t|", ".tsv": "\t,;|"}  # tried in this order


def lines_of(path: str, column: str, encoding: str) -> Iterator[str]:
    """Yield the texts of a table's column, of a file's lines, or (`-`) of standard input.

    Exits with one sentence if they cannot be read.
    """
    if path == "-":
        yield from (line.rstrip("\r\n") for line in sys.stdin)
        return
    suffix = Path(path.lower().removesuffix(".gz")).suffix
    try:
        with open_text(path, encoding) as file:
            if suffix in SEPARATORS:
                yield from read_column(path, file, column, SEPARATORS[suffix])
            elif suffix in (".json", ".jsonl"):
                yield from (str(row[column]) for row in read_objects(file.read()))
            elif suffix == ".txt":
                yield from (line.rstrip("\r\n") for line in file)
            else:
                sys.exit(f"{path}: must be a .csv, .tsv, .json, .jsonl or .txt file, or such a .gz")
    except UnicodeError as error:
        sys.exit(f"{path}: is not {encoding} text ({error}); name its encoding with --encoding")
    except KeyError:
        sys.exit(f"{path}: has no column `{column}`; name another one with --column")
    except LookupError:
        sys.exit(f"{encoding} is not a text encoding; name one with --encoding, such as cp1252")
    except (OSError, EOFError) as error:
        sys.exit(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})")
    except (TypeError, ValueError, csv.Error) as error:
        sys.exit(f"{path}: cannot be read ({error})")


def open_text(path: str, encoding: str) -> TextIO:
    """Open a file for reading; its byte order mark overrides `encoding`."""
    open_file = gzip.open if path.lower().endswith(".gz") else open
    with open_file(path, "rb") as file:
        mark = file.read(2)
    if mark in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    return cast(TextIO, open_file(path, "rt", encoding=encoding, newline=""))


def read_column(path: str, file: TextIO, column: str, separators: str) -> Iterator[str]:
    """Yield a CSV or TSV file's column; KeyError if the header has none with any separator."""
    csv.field_size_limit(LONGEST)
    for separator in separators:
        file.seek(0)
        rows = csv.reader(file, delimiter=separator)
        header = next(filter(None, rows), [])
        names = header if column in header else [cell.strip() for cell in header]
        if column in names:
            position = names.index(column)
            for row in filter(None, rows):
                if len(row) <= position:
                    sys.exit(f"{path}, line {rows.line_num}: has no cell `{column}`")
                yield row[position]
            return
    raise KeyError(column)


def read_objects(content: str) -> Iterator[dict[str, object]]:
    """Yield the objects of a JSON list, or of JSON Lines."""
    if content.lstrip().startswith("["):
        yield from json.loads(content)
    else:
        yield from map(json.loads, filter(str.strip, content.split("\n")))
