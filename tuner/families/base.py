"""What a model family is: a card that every process reads, and a module that only executors import.

`families/NAME.yaml` is the card: what it is for, its metrics and its default search space, written
in the language of study files. `families/NAME.py` is the code: it imports torch and defines

    def build(params: Mapping[str, ParamValue], data: Prepared) -> torch.nn.Module
    def train(cohort: Cohort, data: Prepared, context: Context) -> None

so the command line and the workers' parent processes never import torch.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tuner.spec.space import Parameter


class Family(BaseModel):
    """A family's card."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    summary: str = Field(description="One sentence.")
    reference: str = Field(description="The paper or documentation that it follows.")
    data: Literal["images", "text"]
    metrics: tuple[str, ...] = Field(description="The first is the default.")
    epochs: int = Field(description="A usual number of epochs of a trial.")
    search: dict[str, Parameter]

    @property
    def module(self) -> str:
        """Import path of the family's code."""
        return f"tuner.families.{self.name}"
