"""Texts of tables, of files with one per line, or of a pipe, read as the training data was."""

import csv
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, cast

LONGEST = 1_000_000  # characters of a cell
SEPARATORS = {".csv": ",;\t|", ".tsv": "\t,;|"}  # those that are tried, the usual one first


def lines_of(path: str, column: str, encoding: str) -> Iterator[str]:
    """The texts of a table's column, of a file with one per line, or (`-`) of standard input.

    SystemExit with a sentence where that is not possible.
    """
    if path == "-":
        yield from (line.rstrip("\r\n") for line in sys.stdin)
        return
    suffix = Path(path.lower().removesuffix(".gz")).suffix
    try:
        with text_file(path, encoding) as file:
            if suffix in SEPARATORS:
                yield from cells(path, file, column, SEPARATORS[suffix])
            elif suffix in (".json", ".jsonl"):
                yield from (str(row[column]) for row in objects(file.read()))
            elif suffix == ".txt":
                yield from (line.rstrip("\r\n") for line in file)
            else:
                sys.exit(f"{path}: must be a .csv, .tsv, .json, .jsonl or .txt file, or one of .gz")
    except UnicodeError as error:
        sys.exit(f"{path}: is not {encoding} text ({error}); --encoding names another encoding")
    except KeyError:
        sys.exit(f"{path}: has no column `{column}`; --column names another one")
    except LookupError:
        sys.exit(f"{encoding} is no encoding of text; --encoding names one, such as cp1252")
    except (OSError, EOFError) as error:
        sys.exit(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})")
    except (TypeError, ValueError, csv.Error) as error:
        sys.exit(f"{path}: cannot be read ({error})")


def text_file(path: str, encoding: str) -> TextIO:
    """A file, open for reading; its byte order mark goes first."""
    opening = gzip.open if path.lower().endswith(".gz") else open
    with opening(path, "rb") as file:
        mark = file.read(2)
    if mark in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    return cast(TextIO, opening(path, "rt", encoding=encoding, newline=""))


def cells(path: str, file: TextIO, column: str, separators: str) -> Iterator[str]:
    """A column of a CSV or TSV file; KeyError where no separator gives its header that column."""
    csv.field_size_limit(LONGEST)
    for separator in separators:
        file.seek(0)
        rows = csv.reader(file, delimiter=separator)
        header = next(filter(None, rows), [])
        names = header if column in header else [cell.strip() for cell in header]
        if column in names:
            place = names.index(column)
            for row in filter(None, rows):
                if len(row) <= place:
                    sys.exit(f"{path}, line {rows.line_num}: has no cell `{column}`")
                yield row[place]
            return
    raise KeyError(column)


def objects(content: str) -> Iterator[dict[str, object]]:
    """The objects of a list, or of lines with one each."""
    if content.lstrip().startswith("["):
        yield from json.loads(content)
    else:
        yield from map(json.loads, filter(str.strip, content.split("\n")))
