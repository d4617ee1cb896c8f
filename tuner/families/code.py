"""The typed door to a family's code: all that executors and exports may ask of it.

`families/NAME.py` holds the code of a family, `families/NAME.yaml` is its card. The module ends
with one declaration, which says what the code can do:

    CODE = Networks(build, load=load)

There are three kinds. `Networks` are torch networks, which tuner trains, measures and exports.
`Models` are models of any other kind, whose family does that itself. `UserCode` is for the families
whose code, search space and metric are the study file's own.

Only executors, and the processes that measure and train for exports, load a family's code. This
module imports no torch: user code may run in a process that does without.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tuner.errors import BadInputError

if TYPE_CHECKING:
    from torch import nn

    from tuner.data.prepared import PartName, PreparedData
    from tuner.families.card import Card
    from tuner.study_file.data import DataSpec
    from tuner.training.cohort import Cohort, Context
    from tuner.training.network import Batches, Build, Load, MakeObjective, Scores, Upstream
    from tuner.trials import ParamValue

    Params = Mapping[str, ParamValue]
    Check = Callable[[Cohort], None]
    Export = Callable[[Params, PreparedData, Path, Path], dict[str, Any]]
    Measure = Callable[
        [Params, DataSpec, PreparedData, Path, Sequence[PartName]], Mapping[PartName, Scores]
    ]
    Predict = Callable[[Params, DataSpec, PreparedData, Path, PartName, int], list[dict[str, Any]]]
    Rewrite = Callable[[Any], nn.Module]
    Run = Callable[[Cohort, Context], bool]
    Train = Callable[[Cohort, PreparedData, Context], None]


class Code(Protocol):
    """What tuner asks of a family that learns from a study's data: `Networks` or `Models`."""

    def train(self, cohort: Cohort, data: PreparedData, context: Context, /) -> None:
        """Train the cohort's trials to their ends, or until the context says otherwise.

        Args:
            cohort: The trials, with the device, threads and precision to train them with.
            data: The study's data, split and prepared.
            context: Takes reports and results, and answers whether a trial shall go on.

        Raises:
            TunerError: The cohort cannot be trained; the message is for the user.

        """
        ...

    def measure(
        self,
        params: Params,
        spec: DataSpec,
        data: PreparedData,
        weights: Path,
        parts: Sequence[PartName],
        /,
    ) -> Mapping[PartName, Scores]:
        """Score trained weights.

        Args:
            params: The trial's parameters, pinned ones included.
            spec: The section `data` of the study file.
            data: The same data, prepared.
            weights: The safetensors file that the training wrote.
            parts: The parts of the data to measure on.

        Returns:
            Part → its metrics, and an interval for each.

        Raises:
            TunerError: The weights do not belong to these parameters.

        """
        ...

    def predictions(
        self,
        params: Params,
        spec: DataSpec,
        data: PreparedData,
        weights: Path,
        part: PartName,
        rows: int,
        /,
    ) -> list[dict[str, Any]]:
        """Return what trained weights predict for the first `rows` examples of a part.

        The bundle's `predict.py` must print the same objects for the same inputs.
        """
        ...

    def export_files(
        self, params: Params, data: PreparedData, weights: Path, folder: Path, /
    ) -> dict[str, Any]:
        """Write what predictions need besides weights and vocabulary into a bundle.

        Returns:
            What is added to the bundle's `preprocessing.json`.

        """
        ...


@dataclass(frozen=True, slots=True)
class Networks:
    """Torch networks: tuner trains them, measures them and exports them, as ONNX too.

    Args:
        build: `(params, data)` → the network of a trial, not yet trained. It takes the inputs of a
            batch, [N, …], and returns logits [N, classes], or numbers [N, 1] in standard deviations
            of the labels from their mean. `predict.py` is made of this function's source.
        load: `(params, data, part, device)` → the part in batches, where parameters decide what the
            network is fed with; by default the arrays as they were prepared.
        objective: `(params, data, device)` → the loss and the metrics; by default those of
            classification or regression, as the labels demand.
        upstream: `(params, data, device)` → costs of making the network's inputs from an example,
            as `parameters` and `latency_ms`; by default there are none.
        export: `(params, data, weights, folder)` writes further files into a bundle and returns
            what is added to its `preprocessing.json`.
        for_onnx: Network → the same one in operators that ONNX has, sharing no state with it.
        check: Called with a cohort before it is trained; raises a TunerError if it must not be.

    Example:
        >>> from torch import nn
        >>> from tuner.families.code import Networks
        >>> def build(params, data):
        ...     return nn.Sequential(nn.Flatten(), nn.LazyLinear(data.outputs))
        >>> CODE = Networks(build)

    """

    build: Build
    _: KW_ONLY
    load: Load | None = None
    objective: MakeObjective | None = None
    upstream: Upstream | None = None
    export: Export | None = None
    for_onnx: Rewrite | None = None
    check: Check | None = None

    def train(self, cohort: Cohort, data: PreparedData, context: Context, /) -> None:
        """Train a cohort of networks."""
        from tuner.training import loop, network

        if self.check is not None:
            self.check(cohort)
        loop.train(
            cohort,
            data,
            context,
            self.build,
            self.load or network.load_resident,
            self.objective or network.supervision,
            self.upstream or network.nothing_upstream,
        )

    def measure(
        self,
        params: Params,
        _: DataSpec,
        data: PreparedData,
        weights: Path,
        parts: Sequence[PartName],
        /,
    ) -> Mapping[PartName, Scores]:
        """Score a network with trained weights, on the CPU."""
        from torch import device

        from tuner.training.network import supervision

        network = self.network(params, data, weights)
        objective = (self.objective or supervision)(params, data, device("cpu"))
        return {name: objective.score(network, self.part(params, data, name)) for name in parts}

    def predictions(
        self,
        params: Params,
        _: DataSpec,
        data: PreparedData,
        weights: Path,
        part: PartName,
        rows: int,
        /,
    ) -> list[dict[str, Any]]:
        """Return what a network predicts for the first rows of a part."""
        from torch import device

        from tuner.training.network import supervision

        network = self.network(params, data, weights)
        objective = (self.objective or supervision)(params, data, device("cpu"))
        return objective.predictions(network, self.part(params, data, part), rows)

    def export_files(
        self, params: Params, data: PreparedData, weights: Path, folder: Path, /
    ) -> dict[str, Any]:
        """Write the family's own files into a bundle."""
        return {} if self.export is None else self.export(params, data, weights, folder)

    def network(self, params: Params, data: PreparedData, weights: Path) -> nn.Module:
        """Return the network of these parameters, on the CPU, with the weights in a file."""
        from tuner.training.weights import load

        network: nn.Module = self.build(params, data)
        load(network, weights)
        return network

    def part(self, params: Params, data: PreparedData, name: PartName) -> Batches:
        """Return a part of the data, on the CPU, as the network takes it."""
        from torch import device

        from tuner.training.network import load_resident

        return (self.load or load_resident)(params, data, name, device("cpu"))


@dataclass(frozen=True, slots=True)
class Models:
    """Models that are no networks: their family trains, measures and exports them itself.

    Args:
        train: As `Code.train`; `tuner.training.loop.run` does it for anything that learns in
            epochs (`tuner.training.member.Learner`).
        measure: As `Code.measure`.
        predictions: As `Code.predictions`.
        export: As `Code.export_files`; by default nothing is added.

    Example:
        >>> from tuner.families.code import Models
        >>> CODE = Models(
        ...     train=lambda cohort, data, context: None,
        ...     measure=lambda params, spec, data, weights, parts: {},
        ...     predictions=lambda params, spec, data, weights, part, rows: [],
        ... )

    """

    _: KW_ONLY
    train: Train
    measure: Measure
    predictions: Predict
    export: Export | None = None

    def export_files(
        self, params: Params, data: PreparedData, weights: Path, folder: Path, /
    ) -> dict[str, Any]:
        """Write the family's own files into a bundle."""
        return {} if self.export is None else self.export(params, data, weights, folder)


@dataclass(frozen=True, slots=True)
class UserCode:
    """Code of a study's own, which reads its own data.

    Args:
        run: `(cohort, context)` runs the code once per trial and returns whether it has changed
            this process, so that no other trial may run here.
        in_executor: Whether the code runs in the executor's own process: memory is measured there,
            and a failure may leave anything behind. Else each trial is a process of its own.

    Example:
        >>> from tuner.families.code import UserCode
        >>> CODE = UserCode(lambda cohort, context: False, in_executor=True)

    """

    run: Run
    _: KW_ONLY
    in_executor: bool


def load(card: Card) -> Code:
    """Import the code of a family that learns from a study's data; this imports torch.

    Raises:
        BadInputError: Its module declares no `CODE`.

    """
    code = _declared(card)
    if not isinstance(code, Networks | Models):
        raise _undeclared(card, "`CODE = Networks(build)`, or `Models(…)`")
    return code


def load_user_code(card: Card) -> UserCode:
    """Import the code of a family that runs user code; this imports no torch."""
    code = _declared(card)
    if not isinstance(code, UserCode):
        raise _undeclared(card, "`CODE = UserCode(run, in_executor=…)`")
    return code


def _declared(card: Card) -> object:
    return vars(importlib.import_module(card.module)).get("CODE")


def _undeclared(card: Card, declaration: str) -> BadInputError:
    return BadInputError(
        f"the family `{card.name}` declares no code: {card.module} must end with {declaration}"
    )
