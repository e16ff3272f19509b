"""The hypervolume of many objectives, on the host."""

import numpy as np
from jax.typing import ArrayLike

__all__ = ["host_hypervolume"]


def host_hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """The hypervolume by moocore, for any number of objectives, outside of jit.

    What it means is what `hypervolume` means; what differs is where it runs.

    Args:
      points: shape [n, m], n may be 0, objectives to be minimized.
      reference: r, shape [m].

    Returns:
      A Python float, computed in float64; NaN if a number is NaN. Not differentiable.

    Raises:
      ValueError: wrong shapes.
      ImportError: the extra `metrics` is not installed.

    Example:
      >>> from paretax import metrics
      >>> metrics.host_hypervolume([[0.0] * 6, [1.0] * 6], [2.0] * 6)
      64.0

    Cost: by moocore's manual n log n operations for m = 2 and 3, n² for m = 4, and at
    worst nᵐ⁻² above, with n numbers.

    Reference: Fonseca, Paquete & López-Ibáñez, "An improved dimension-sweep algorithm
    for the hypervolume indicator", CEC 2006; the library is moocore.
    """
    y = np.asarray(points, np.float64)
    r = np.asarray(reference, np.float64)
    if y.ndim != 2 or r.ndim != 1 or y.shape[1] != r.shape[0] or r.shape[0] == 0:
        raise ValueError(
            "points: expected shape [n, m] with a reference of shape [m], got "
            f"{y.shape} and {r.shape}."
        )
    try:
        import moocore
    except ImportError as error:
        raise ImportError(
            "host_hypervolume needs moocore: pip install 'paretax[metrics]'"
        ) from error
    if np.isnan(y).any() or np.isnan(r).any():
        return float("nan")
    if y.shape[0] == 0:
        return 0.0
    return float(moocore.hypervolume(y, ref=r))
