"""Choosing the next parameters of a study: Optuna's samplers over the study's history.

The sampler's seed follows from the study's seed and the trial's number, so one worker alone repeats
a search exactly (unless `gp` learns from measured seconds), and two workers never draw the same
point from the same seed.
"""

import logging
import random
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler

from tuner.origin import EXPECTED, NUMERICAL, Origin, OriginKind
from tuner.search import draft, samplers
from tuner.search.cells import cells_of, searched
from tuner.search.encoding import Encoding
from tuner.search.generations import Generations
from tuner.search.history import History
from tuner.search.observations import Observer
from tuner.search.priors import Priors
from tuner.search.proposal import Proposal
from tuner.search.sample import Sample
from tuner.search.samplers import qmc
from tuner.search.tried import Tried
from tuner.search.warm_start.past_study import WarmStart
from tuner.study_file.fit import NotFittingError, fit, in_range
from tuner.study_file.messages import counted
from tuner.study_file.parameters import FloatParameter, IntParameter
from tuner.study_file.seeds import derived_seed
from tuner.study_file.space import Space
from tuner.study_file.study import Sampler as SamplerSpec
from tuner.trials import Direction, ParamValue

if TYPE_CHECKING:
    from tuner.search.warm_start.models import PastModels
    from tuner.search.warm_start.portfolio import Portfolio

_log = logging.getLogger(__name__)

COLD = WarmStart()
REDRAWS = 20  # of a forbidden or already tried configuration, before it is proposal at random
RANDOM_REDRAWS = 10_000  # of a forbidden one, at random

ENQUEUED = Origin(kind=OriginKind.ENQUEUED)
REJECTED = "the first draws were forbidden or tried before"


class Proposer:
    """Proposes parameters for one study in one process."""

    def __init__(
        self,
        space: Space,
        sampler: SamplerSpec,
        directions: Sequence[Direction],
        seed: int,
        history: History,
        warm_start: WarmStart = COLD,
        *,
        by_level: bool = False,
    ) -> None:
        """`by_level`: steps of reports are levels of fidelity."""
        self._space = space
        self._seed = seed
        self._distributions = searched(space)
        self._tried = Tried(self._distributions)
        self._sample = Sample(history, directions, self._tried)
        history.watch(self._tried)
        self._encoding = Encoding(space, self._distributions)
        self._observer = Observer(
            list(self._distributions), directions, self._tried, by_level=by_level
        )
        self._generations = Generations(history, self._tried)
        if sampler.reads_curves or warm_start:
            history.watch(self._observer)
        # the others draw without a look at the results
        if sampler.evolves:
            history.watch(self._generations)
        elif sampler.learns and not sampler.reads_curves:
            history.watch(self._sample)
        self._storage = draft.DraftStorage(history, directions, self._sample)
        self._cells = cells_of(space, sampler, seed, self._distributions, self._tried)
        self._options = sampler.checked_options
        self._minimizes = directions[0] == "minimize"
        self._memory: dict[str, Any] = {}
        self.fallbacks = 0  # draws whose sampler has raised
        # whether the latest trials of others matter to a draw: to their model, or to what is left
        self.reads_history = sampler.learns or self._cells is not None or bool(warm_start)
        self._sampler = sampler
        self._past: PastModels | None = None
        self._portfolio: Portfolio | None = None
        is_grid = sampler.name == "grid"  # which tries its own points alone
        if warm_start and not is_grid:
            self._past, self._portfolio = self._load_past(warm_start)
        self._priors = Priors(space, {} if is_grid else self._distributions)
        self._make_sampler = samplers.load(sampler.name or "random")

    def propose(
        self, number: int, fixed_params: Mapping[str, ParamValue] | None = None
    ) -> Proposal:
        """The searched parameters of trial `number`; `fixed_params` are taken as they are.

        What is forbidden is never returned unless every way to complete `fixed_params` is, and what
        was tried before only when nothing new turns up in `REDRAWS` draws. A space of at most
        `MAX_CELLS` configurations is used up before one is repeated.
        """
        fixed = self._possible(fixed_params or {})
        if not fixed and (advice := self.pick_past(number)) is not None:
            return advice
        proposal = self._propose(number, fixed)
        if not fixed:
            return proposal
        if fixed.keys() >= proposal.params.keys():  # nothing was left to draw
            return replace(proposal, origin=ENQUEUED)
        return replace(proposal, origin=ENQUEUED.completed_by(proposal.origin))

    def pick_past(self, number: int) -> Proposal | None:
        """Return the configuration of an earlier study that trial `number` tries, if any."""
        advice = None if self._portfolio is None else self._portfolio.pick(number)
        if advice is None:
            return None
        origin = Origin(kind=OriginKind.PORTFOLIO, study=advice.study, trial=advice.number)
        return Proposal(advice.params, origin)

    def _propose(self, number: int, fixed: Mapping[str, ParamValue]) -> Proposal:
        untried = None if self._cells is None else self._cells.untried(fixed)
        allowed: Proposal | None = None
        for redraw in range(REDRAWS):
            proposal = self._draw(number, fixed, untried, redraw)
            if not self._space.is_forbidden(self.complete(proposal.params)):
                if not self.is_tried(proposal.params):
                    return proposal
                allowed = allowed or proposal
                if untried == []:
                    break  # everything was tried, so the sampler's first choice is the best
        rng = random.Random(derived_seed(self._seed, number, REDRAWS))
        if untried:
            return Proposal(rng.choice(untried), self._random_origin(REJECTED))
        if allowed is not None:
            return allowed
        for _ in range(RANDOM_REDRAWS):
            params = self._space.random(rng, pinned=fixed)
            if not self._space.is_forbidden(params):
                return Proposal(self._searched(params), self._random_origin(REJECTED))
        return proposal  # the launch found an allowed draw, so without fixed ones this won't happen

    def _load_past(self, warm_start: WarmStart) -> "tuple[PastModels, Portfolio]":
        # SciPy, which few studies need
        from tuner.search.warm_start.models import PastModels
        from tuner.search.warm_start.portfolio import Portfolio

        past = PastModels(warm_start, self._space, self._encoding)
        return past, Portfolio(
            warm_start.portfolio, past, self._encoding, self._observer, self._is_open
        )

    @property
    def is_small(self) -> bool:
        """Whether the space has few enough configurations to count them."""
        return self._cells is not None

    @property
    def used_up(self) -> str | None:
        """Why nothing is left of a small space; None while something is, and for a large one."""
        return None if self._cells is None else self._cells.used_up

    def fits(self, space: Mapping[str, BaseDistribution]) -> bool:
        """Whether these are distributions of the study; `space` is one of its history's."""
        return self._tried.fits(space)

    def is_tried(self, params: Mapping[str, ParamValue]) -> bool:
        """Whether a known trial has this configuration."""
        return self._tried.key(params) in self._tried

    def complete(self, params: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
        """The searched parameters with the pinned ones that are active beside them."""
        return self._space.complete(params)

    def distributions(self, params: Mapping[str, ParamValue]) -> dict[str, BaseDistribution]:
        """The distributions of these parameters, in the space's order."""
        return {name: d for name, d in self._distributions.items() if name in params}

    def _is_open(self, params: Mapping[str, ParamValue]) -> bool:
        """Whether a configuration is neither forbidden nor tried."""
        return not self.is_tried(params) and not self._space.is_forbidden(self.complete(params))

    def _columns(self, fixed: Mapping[str, ParamValue]) -> dict[int, float]:
        """Return the columns and internal values of fixed parameters."""
        return {
            column: float(d.to_internal_repr(fixed[name]))
            for column, (name, d) in enumerate(self._distributions.items())
            if name in fixed
        }

    def _searched(self, params: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
        return {name: value for name, value in params.items() if name in self._distributions}

    def _possible(self, fixed: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
        """Without values that no distribution holds, which older versions let Optuna enqueue."""
        possible: dict[str, ParamValue] = {}
        for name, parameter in self._space.parameters.items():
            is_range = isinstance(parameter, FloatParameter | IntParameter)
            if name in fixed:
                with suppress(NotFittingError):
                    possible[name] = (fit if is_range else in_range)(fixed[name], parameter)
        return possible

    def expected(self, number: int, redraw: int = 0) -> dict[str, ParamValue]:
        """Return values where the user expects good ones, for every third trial at the start."""
        if not self._priors or number % 3 or number >= self._sampler.startup_trials:
            return {}
        if number == 0 and redraw == 0:
            return self._priors.expected()
        return self._priors.draw(random.Random(derived_seed(self._seed, number, redraw, "prior")))

    def allowed_expected(self, number: int) -> dict[str, ParamValue]:
        """Return values near the expected ones that nothing forbids; empty for most trials."""
        for redraw in range(REDRAWS):
            expected = self.expected(number, redraw)
            if not self._space.is_forbidden(expected):
                return expected
        return {}

    def _random_origin(self, reason: str | None = None) -> Origin:
        return Origin(kind=OriginKind.RANDOM, sampler=self._sampler.label, reason=reason)

    def _draw(
        self,
        number: int,
        fixed: Mapping[str, ParamValue],
        untried: Sequence[Mapping[str, ParamValue]] | None,
        redraw: int,
    ) -> Proposal:
        expected = self.expected(number, redraw)
        fixed = {**expected, **fixed}
        draw = samplers.Draw(
            space=self._space,
            distributions=self._distributions,
            sample=self._sample,
            observer=self._observer,
            encoding=self._encoding,
            generations=self._generations,
            options=self._options,
            memory=self._memory,
            minimizes=self._minimizes,
            cells=self._cells,
            fixed=self._columns(fixed),
            untried=untried,
            is_open=self._is_open,
            past=self._past,
            priors=self._priors,
            startup_trials=self._sampler.startup_trials,
            study_seed=self._seed,
            seed=derived_seed(self._seed, number, redraw),
            redraw=redraw,
        )
        try:
            proposal = self._draw_with(self._make_sampler, draw, number, fixed)
        except Exception as error:  # a trial without a model is better than a worker that ends
            self.fallbacks += 1
            _log.warning(
                "trial %d: %s raised %s; drawn without a model, as %s of this worker",
                number,
                self._sampler.label,
                f"{type(error).__name__}: {error}",
                counted(self.fallbacks, "trial"),
                exc_info=error,
            )
            self._memory.clear()
            make = partial(qmc.make, sampler=self._sampler.label, reason=NUMERICAL)
            proposal = self._draw_with(make, draw, number, fixed)
        if not expected:
            return proposal
        return replace(proposal, origin=replace(proposal.origin, reason=EXPECTED))

    def _draw_with(
        self,
        make: samplers.Make,
        draw: samplers.Draw,
        number: int,
        fixed: Mapping[str, ParamValue],
    ) -> Proposal:
        with warnings.catch_warnings():
            # an enqueued value outside its range is taken as the user wrote it, and users need not
            # know that an Optuna sampler is experimental
            warnings.simplefilter("ignore")
            sampler = make(draw)
            if sampler is None:
                params = self._space.random(random.Random(draw.seed), pinned=fixed)
                origin = self._random_origin(REJECTED if draw.redraw else None)
                return Proposal(self._searched(params), origin)
            study = draft.study(self._storage, sampler)
            trial = optuna.trial.Trial(study, self._storage.begin(number, fixed))
            params = draft.suggest(trial, self._space, self._distributions)
        return Proposal(self._searched(params), self._origin_of(sampler))

    def _origin_of(self, sampler: BaseSampler) -> Origin:
        """Return what a sampler says of the draw that it has made; Optuna's own say nothing."""
        if isinstance(sampler, samplers.Explained):
            return sampler.origin
        kind = OriginKind.MODEL if self._sampler.learns else OriginKind.RANDOM
        return Origin(kind=kind, sampler=self._sampler.label)
