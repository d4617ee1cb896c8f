"""The `data` section of a study file: where examples come from and how they are split."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SOURCES = ("digits", "mnist5k", "images", "npz", "text")
TEXT_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Split(_Section):
    """Fixed, stratified parts; the test part is read by export alone."""

    validation: float = Field(default=0.15, gt=0, lt=1, description="Share of all examples.")
    test: float = Field(default=0.15, gt=0, lt=1, description="Share of all examples.")
    seed: int = Field(default=0, ge=0, le=2**31 - 1)

    @model_validator(mode="after")
    def _check(self) -> "Split":
        if self.validation + self.test >= 1:
            raise ValueError("validation + test must leave something to train on (sum below 1)")
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
    lowercase: bool = Field(default=True, description="Text: fold case before counting words.")
    vocabulary: int = Field(default=20_000, ge=10, description="Text: most frequent words kept.")
    min_count: int = Field(default=1, ge=1, description="Text: rarer words become <unknown>.")
    max_length: int | None = Field(
        default=None,
        ge=2,
        le=100_000,
        description="Text: tokens kept of a text; by default what 99 % of the texts need, ≤ 512.",
    )
    vectors: Path | None = Field(
        default=None, description="Text: word vectors (word2vec/GloVe text format or .kv)."
    )
    image_size: tuple[int, int] | None = Field(
        default=None, description="images: height, width to resize to; by default the first's."
    )

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"source": given}
        if isinstance(given, dict) and "source" not in given and "path" in given:
            path = Path(str(given["path"]))
            if path.suffix.lower() in TEXT_SUFFIXES:
                return {**given, "source": "text"}
            if path.suffix.lower() == ".npz":
                return {**given, "source": "npz"}
        return given

    @model_validator(mode="after")
    def _check(self) -> "DataSpec":
        needs_path = self.source in ("images", "npz", "text")
        if needs_path and self.path is None:
            raise ValueError(f"path: is needed with `source: {self.source}`")
        if not needs_path and self.path is not None:
            raise ValueError(f"path: has no meaning with `source: {self.source}`; remove it")
        return self

    def resolved(self, folder: Path) -> "DataSpec":
        """The same with absolute paths; relative ones are taken from `folder`."""
        changes = {
            name: (folder / path.expanduser()).absolute()
            for name in ("path", "validation_path", "test_path", "vectors")
            if (path := getattr(self, name)) is not None
        }
        return self.model_copy(update=changes)
