"""Optuna's TPE, told which parameters the trials have instead of comparing all trials each time."""

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.search_space.group_decomposed import _SearchSpaceGroup
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from tuner.origin import Origin, OriginKind
from tuner.search.record import Space
from tuner.search.samplers import Draw, too_few
from tuner.study_file.sampler_options import TpeOptions


def make(draw: Draw) -> BaseSampler:
    """Return the sampler, with the spaces of the trials that it is shown."""
    spaces, options = draw.sample.spaces, draw.options
    assert isinstance(options, TpeOptions)
    is_grouped = options.group
    if is_grouped is None:
        is_grouped = any(parameter.when for parameter in draw.space.parameters.values())
    return KnownSpacesSampler(
        [spaces[names] for names in sorted(spaces)],
        known=len(draw.sample),
        conditional=is_grouped and options.multivariate is not False,
        seed=draw.seed,
        n_startup_trials=draw.startup_trials,
        multivariate=options.multivariate,
        constant_liar=options.constant_liar,
        n_ei_candidates=options.n_ei_candidates,
    )


class KnownSpacesSampler(TPESampler):
    """Proposes what `TPESampler` proposes; its way to the search space took half of an ask."""

    def __init__(
        self,
        spaces: Sequence[Space],
        *,
        conditional: bool,
        known: int,
        n_startup_trials: int,
        **options: Any,
    ) -> None:
        """`spaces` are those of all complete and pruned trials, of which there are `known`.

        Conditional parameters are modelled in the groups in which they occur together.
        """
        super().__init__(group=conditional, n_startup_trials=n_startup_trials, **options)
        self._spaces = spaces
        self.origin = Origin(
            kind=OriginKind.RANDOM, sampler="tpe", reason=too_few(known, n_startup_trials)
        )

    def _sample(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """What the model proposes for these parameters; there are startup trials enough."""
        if self.origin.kind != OriginKind.MODEL:
            states = (TrialState.COMPLETE, TrialState.PRUNED)
            learned_from = len(study._get_trials(deepcopy=False, states=states, use_cache=True))
            self.origin = Origin(kind=OriginKind.MODEL, sampler="tpe", learned_from=learned_from)
        return super()._sample(study, trial, search_space)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """What is modelled together: the groups, or what all trials have."""
        if self._multivariate is False:
            return {}
        if self._group:
            self._search_space_group = _SearchSpaceGroup()
            for space in self._spaces:
                self._search_space_group.add_distributions(dict(space))
            parts = [sorted(part.items()) for part in self._search_space_group.search_spaces]
        else:
            common = set.intersection(*map(set, self._spaces)) if self._spaces else set()
            parts = [[(name, self._spaces[0][name]) for name in sorted(common)]]
        return {name: d for part in parts for name, d in part if not d.single()}
