"""By how much a configuration is expected to enlarge the hypervolume of two objectives.

The region that a front does not dominate is cut into strips between its points. In each strip the
two objectives' improvements are independent, so the expectation is a sum of products of one-
dimensional expected improvements (Emmerich, Yang & Deutz, IEEE CEC 2016): exact, and as many terms
as the front has points.
"""

import numpy as np

from tuner.search.gaussian_process import Array, log_expected_improvement

MARGIN = 0.1  # of a front's range, by which the reference point lies beyond its worst values


def nondominated(points: Array) -> Array:
    """Return the points [K, 2] that no other beats, by the first objective; smaller is better."""
    in_order = points[np.lexsort((points[:, 1], points[:, 0]))]
    best = np.minimum.accumulate(in_order[:, 1])
    is_better = np.append(True, best[1:] < best[:-1])
    return np.asarray(in_order[is_better[: len(in_order)]])


def reference_of(front: Array) -> Array:
    """Return a reference point [2]: beyond the front, and no better than the typical trial, at 0.

    Where the front is short, the latter asks for its ends, too.
    """
    worst = front.max(0)
    return np.asarray(np.maximum(worst + MARGIN * (worst - front.min(0)), 0.0))


def log_hypervolume_improvement(
    mean: Array, deviation: Array, front: Array, reference: Array
) -> Array:
    """Return the logarithm of the expected improvement of the hypervolume [M].

    Args:
        mean: Of the objectives of M candidates [M, 2].
        deviation: Standard deviations [M, 2].
        front: What `nondominated` has returned.
        reference: The reference point [2].

    """
    front = front[(front < reference).all(1)]
    ends = np.append(front[:, 0], reference[0])  # where the strips end
    heights = np.append(reference[1], front[:, 1])  # below which they are open
    # the improvement within a strip is that below its end, less that below its start
    below = np.stack(
        [log_expected_improvement(mean[:, 0], deviation[:, 0], float(end)) for end in ends]
    )
    widths = below.copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.exp(np.minimum(below[:-1] - below[1:], 0.0))
        widths[1:] += np.log1p(-np.minimum(share, 1.0))
    depths = np.stack(
        [log_expected_improvement(mean[:, 1], deviation[:, 1], float(h)) for h in heights]
    )
    total: Array = np.logaddexp.reduce(widths + depths, axis=0)
    return np.maximum(np.nan_to_num(total, nan=-1e6, neginf=-1e6), -1e6)
