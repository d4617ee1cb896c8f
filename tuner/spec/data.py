"""The `data` section of a study file: where examples come from and how they are split."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tuner.spec.values import Flag, Real, Whole
from tuner.spec.words import a, problem, quoted

TEXT_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
_TEXT_FIELDS = (
    "text",
    "label",
    "lowercase",
    "vocabulary",
    "min_count",
    "max_length",
    "vectors",
)

Size = Annotated[Whole, Field(ge=1, le=10_000)]  # pixels


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Split(_Section):
    """Fixed, stratified parts; the test part is read by export alone."""

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

    source: Literal["digits", "mnist5k", "images", "npz", "text"] = Field(
        description="digits and mnist5k come with packages; images: a folder with one sub-folder "
        "a class; npz: arrays `x` and `y`; text: CSV, TSV, JSONL or Parquet."
    )
    path: Path | None = Field(default=None, description="File or folder, relative to the file.")
    validation_path: Path | None = Field(default=None, description="A given validation part.")
    test_path: Path | None = Field(default=None, description="A given test part.")
    split: Split = Split()
    text: str = Field(default="text", description="Text: name of the column with the text.")
    label: str = Field(default="label", description="Text: name of the column with the class.")
    lowercase: Flag = Field(default=True, description="Text: fold case before counting words.")
    vocabulary: Whole = Field(default=20_000, ge=10, description="Text: most frequent words kept.")
    min_count: Whole = Field(default=1, ge=1, description="Text: rarer words become <unknown>.")
    max_length: Annotated[Whole, Field(ge=2, le=100_000)] | None = Field(
        default=None,
        description="Text: tokens kept of a text; by default what 99 % of the texts need, ≤ 512.",
    )
    vectors: Path | None = Field(
        default=None,
        description="Text: word vectors, in the text format of word2vec or GloVe or word2vec's "
        "binary `.bin`, also with `.gz`; not gensim's `.kv`, which is a pickle.",
    )
    image_size: tuple[Size, Size] | None = Field(
        default=None, description="images: height, width to resize to; by default the first's."
    )

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"source": given}
        if isinstance(given, Mapping) and "source" not in given and "path" in given:
            path = Path(str(given["path"]))
            if path.suffix.lower() in TEXT_SUFFIXES:
                return {**given, "source": "text"}
            if path.suffix.lower() == ".npz":
                return {**given, "source": "npz"}
        return given

    @field_validator("path", "validation_path", "test_path", "vectors")
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
    def _pair(cls, given: Any) -> Any:
        if given is not None and (not isinstance(given, list | tuple) or len(given) != 2):
            raise problem(f"must be a list of height and width, is {a(given)}")
        return given

    @model_validator(mode="after")
    def _check(self) -> "DataSpec":
        needs_path = self.source in ("images", "npz", "text")
        if needs_path and self.path is None:
            raise problem(f"is missing; `source: {self.source}` needs it", "path")
        for name in self._meaningless():
            if getattr(self, name) != type(self).model_fields[name].default:
                raise problem(f"has no meaning with `source: {self.source}`; remove it", name)
        return self

    def _meaningless(self) -> tuple[str, ...]:
        """The fields that this source passes over; one that is set is a misunderstanding."""
        others = () if self.source == "images" else ("image_size",)
        if self.source in ("digits", "mnist5k"):
            others = ("path", "validation_path", "test_path", *others)
        return others if self.source == "text" else (*others, *_TEXT_FIELDS)

    def resolved(self, folder: Path) -> "DataSpec":
        """The same with absolute paths; relative ones are taken from `folder`."""
        changes = {
            name: (folder / path.expanduser()).absolute()
            for name in ("path", "validation_path", "test_path", "vectors")
            if (path := getattr(self, name)) is not None
        }
        return self.model_copy(update=changes)
