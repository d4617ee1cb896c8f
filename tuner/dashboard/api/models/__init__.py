"""What the REST API returns: frozen models, whose descriptions make up its OpenAPI document.

Values are JSON's own types, as `study_json.plain` makes them: NaN and infinities are null, and
text may be what PostgreSQL and Python allow, lone surrogates included.
"""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, SkipValidation

from tuner import study_json

Text = Annotated[
    str, SkipValidation
]  # pydantic refuses lone surrogates, which users' text may hold
Time = Annotated[str, SkipValidation, Field(json_schema_extra={"format": "date-time"})]


class Record(BaseModel):
    """Base of what the API returns; a field that is not described here is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def of(cls, value: Any) -> Self:
        """The record of a dataclass or mapping."""
        return cls.model_validate(study_json.plain(value))


class ErrorMessage(Record):
    """Why a request failed."""

    error: Text = Field(description="What is wrong and what would be right; lines end with \\n.")


def errors(**meanings: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's entries for failed requests; `_404="…"` describes status 404."""
    return {
        int(status.removeprefix("_")): {"model": ErrorMessage, "description": meaning}
        for status, meaning in meanings.items()
    }


COMMON_ERRORS = errors(
    _401="Not logged in, or the token is not valid.",
    _403="The user's role does not allow this.",
    _422="The request is not valid.",
    _503="The database cannot be reached.",
)
NOT_FOUND = errors(_404="There is no such study, trial or worker.")
CONFLICT = errors(_409="The state of the study or trial does not allow this.")
