"""What the trials of a study say of the studies that it has learned from."""

from collections.abc import Mapping

import numpy as np
from scipy.linalg import LinAlgError

from tuner.database.engine import Connected
from tuner.search.cells import searched
from tuner.search.encoding import Encoding
from tuner.search.history import History
from tuner.search.observations import Observer
from tuner.search.surrogate import Surrogate
from tuner.search.threads import single_threaded
from tuner.search.tried import Tried
from tuner.search.warm_start.models import FEWEST_RANKED, PastModels
from tuner.search.warm_start.past_study import WarmStart
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import Study


def present_weights(
    connection: Connected, study: Study, spec: ResolvedSpec, warm_start: WarmStart
) -> Mapping[str, float]:
    """Return past study → weight from 0 to 1; nothing while too few trials have a value."""
    history = History(study.id)
    history.refresh(connection)
    distributions = searched(spec.space)
    observer = Observer(list(distributions), study.directions, Tried(distributions))
    history.watch(observer)
    if len(observer) < FEWEST_RANKED:
        return {}
    encoding = Encoding(spec.space, distributions)
    with single_threaded():
        try:
            surrogate = Surrogate(observer, encoding, None, np.random.default_rng(0))
            return surrogate.weigh(PastModels(warm_start, spec.space, encoding))
        except (LinAlgError, FloatingPointError):
            return {}
