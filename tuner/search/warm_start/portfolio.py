"""The few past configurations that a study tries first.

Chosen greedily: each is the one that adds the most to the best rank that the portfolio reaches on
the past studies (Wistuba, Schilling & Schmidt-Thieme, 2015; Feurer, Springenberg & Hutter, 2015).
How a configuration would have done in a past study that never tried it is drawn from that study's
model, together with all others, so configurations that fail alike are not chosen together.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tuner.search.cells import searched
from tuner.search.encoding import Encoding
from tuner.search.observations import Observer
from tuner.search.threads import single_threaded
from tuner.search.warm_start.mapping import complete, map_trials
from tuner.search.warm_start.models import PastModels
from tuner.search.warm_start.past_study import Advice, PastStudy, WarmStart
from tuner.study_file.space import Space
from tuner.trials import ParamValue

Array = NDArray[np.float64]

SIZE = 5  # configurations at most
EVERY = 4  # every fourth trial is of the portfolio, so at most a quarter of the workers try it
LAST = 2 * EVERY * SIZE  # trial, from which it is given up: others were enqueued in its place
UNPROVEN = 2  # configurations that are tried before the first of them has a value
FEWEST_OTHERS = 3  # first other trials, that those of the portfolio are compared with
FEWEST_AGAINST = 8  # trials with a value, after which past studies without a weight have no say
CANDIDATES = 10  # best configurations of each past study
DRAWS = 64  # functions of each past model


def choose(
    studies: tuple[PastStudy, ...],
    space: Space,
    default: Mapping[str, ParamValue],
) -> tuple[Advice, ...]:
    """Choose at most `SIZE` configurations of past studies.

    `default` holds values for parameters that they leave open.
    """
    candidates = _candidates(studies, space, default)
    encoding = Encoding(space, searched(space))
    with single_threaded():
        models = PastModels(WarmStart(studies), space, encoding).models
        if not candidates or not models:
            return tuple(candidates[:SIZE])
        x = encoding.encode(encoding.internal([advice.params for advice in candidates]))
        rng = np.random.default_rng(0)
        outcomes = np.concatenate([model.sample(x, DRAWS, rng) for model in models])
    best = np.full(len(outcomes), np.inf)
    chosen: list[int] = []
    for _ in range(min(SIZE, len(candidates))):
        reached = np.minimum(best[:, None], outcomes).mean(0)
        reached[chosen] = np.inf
        chosen.append(int(np.argmin(reached)))
        best = np.minimum(best, outcomes[:, chosen[-1]])
    return tuple(candidates[place] for place in chosen)


class Portfolio:
    """The portfolio of one study in one process."""

    def __init__(
        self,
        advices: Sequence[Advice],
        models: PastModels,
        encoding: Encoding,
        observer: Observer,
        is_open: Callable[[Mapping[str, ParamValue]], bool],
    ) -> None:
        """`is_open` tells whether a configuration is neither forbidden nor tried."""
        self._advices = advices
        self._models = models
        self._rows = encoding.internal([advice.params for advice in advices])
        self._observer = observer
        self._is_open = is_open

    def pick(self, number: int) -> Advice | None:
        """Return what trial `number` tries; None if that is not for the portfolio to say.

        What was tried before is passed over. At most `UNPROVEN` are tried before one of them has a
        value. The rest is given up once the trials contradict the past studies: those of the
        portfolio are worse than the median of the first others, or no past study has a weight.
        """
        if not self._advices or number % EVERY or number >= LAST:
            return None
        untried = [advice for advice in self._advices if self._is_open(advice.params)]
        if not untried:
            return None
        trials = self._observer.observations()
        values, is_own = trials.values[:, 0], self._is_own(trials.params)
        if len(self._advices) - len(untried) >= UNPROVEN and not is_own.any():
            return None
        others = values[~is_own][:FEWEST_OTHERS]  # the first, which no model has proposed
        if is_own.any() and len(others) == FEWEST_OTHERS:
            best = values[is_own].min()
            if best > np.median(others):
                return None
        return None if self._is_contradicted(trials.params, values) else untried[0]

    def _is_own(self, params: Array) -> NDArray[np.bool_]:
        """Return which trials [N, p] have a configuration of the portfolio [N]."""
        is_same = params[:, None] == self._rows
        is_same |= np.isnan(params[:, None]) & np.isnan(self._rows)  # inactive in both
        return np.asarray(is_same.all(axis=2).any(axis=1))

    def _is_contradicted(self, params: Array, values: Array) -> bool:
        if len(values) < FEWEST_AGAINST:
            return False
        with single_threaded():
            weights = self._models.weights(params, values)
        return bool(weights) and not any(weights.values())


def _candidates(
    studies: tuple[PastStudy, ...], space: Space, default: Mapping[str, ParamValue]
) -> list[Advice]:
    """Return the best configurations of each study, those that are the best of theirs first."""
    ranked: list[list[Advice]] = []
    configurations: set[tuple[tuple[str, ParamValue], ...]] = set()
    for past in studies:
        mapped = map_trials(past, space)
        advices: list[Advice] = []
        if not mapped.shared:
            continue
        for place in np.lexsort((past.values, past.deviations > 0)).tolist():
            if len(advices) == CANDIDATES:
                break
            params = complete(mapped.params[place], space, default)
            key = tuple(params.items())
            if key in configurations or space.is_forbidden(space.complete(params)):
                continue
            configurations.add(key)
            advices.append(Advice(past.name, int(past.numbers[place]), params))
        ranked.append(advices)
    return [
        advices[place] for place in range(CANDIDATES) for advices in ranked if place < len(advices)
    ]
