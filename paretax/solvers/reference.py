"""The inner problems stated in cvxpy: the referee, on the host, for who doubts us.

Needs the extra `reference`. Inputs and outputs are numpy arrays in float64.
"""

import numpy as np

__all__ = ["bargain", "min_norm"]


def bargain(gram: np.ndarray, preference: np.ndarray | None = None) -> np.ndarray:
    """min ½aᵀKa − Σᵢ pᵢ log aᵢ by Clarabel, in unit-diagonal coordinates.

    Args:
      gram: K, shape [m, m], positive semi-definite, with a positive diagonal.
      preference: p, shape [m], positive; None is 1 for every task.

    Returns:
      a, shape [m].

    Raises:
      ImportError: the extra `reference` is not installed.
      cvxpy.SolverError: Clarabel gave up.

    Example:
      >>> import numpy as np
      >>> from paretax.solvers import reference
      >>> reference.bargain(np.diag([4.0, 0.25])).round(3).tolist()
      [0.5, 2.0]

    Cost: milliseconds to seconds.
    """
    cvxpy = _cvxpy()
    scale, factor = _scaled_factor(gram)
    p = np.ones(len(gram)) if preference is None else np.asarray(preference, float)
    u = cvxpy.Variable(len(gram))
    objective = cvxpy.sum_squares(factor @ u) / 2 - p @ cvxpy.log(u)
    cvxpy.Problem(cvxpy.Minimize(objective)).solve(solver=cvxpy.CLARABEL)
    return scale * np.asarray(u.value)


def min_norm(gram: np.ndarray) -> np.ndarray:
    """min wᵀKw over the simplex by Clarabel.

    Args:
      gram: K, shape [m, m], positive semi-definite.

    Returns:
      w, shape [m].

    Raises:
      ImportError: the extra `reference` is not installed.
      cvxpy.SolverError: Clarabel gave up.

    Example:
      >>> import numpy as np
      >>> from paretax.solvers import reference
      >>> reference.min_norm(np.diag([4.0, 1.0])).round(3).tolist()
      [0.2, 0.8]

    Cost: milliseconds to seconds.
    """
    cvxpy = _cvxpy()
    size = max(np.trace(gram), np.finfo(float).tiny)
    factor = _root(gram / size)
    w = cvxpy.Variable(len(gram), nonneg=True)
    simplex = cvxpy.Zero(cvxpy.sum(w) - 1)
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(factor @ w)), [simplex])
    problem.solve(solver=cvxpy.CLARABEL)
    return np.asarray(w.value)


def _scaled_factor(gram):
    scale = 1 / np.sqrt(np.diag(gram))
    return scale, _root(gram * scale[:, None] * scale)


def _root(gram):
    """F with FᵀF = K, negative eigenvalues of rounding cut off."""
    values, vectors = np.linalg.eigh(gram)
    return np.sqrt(np.maximum(values, 0))[:, None] * vectors.T


def _cvxpy():
    try:
        import cvxpy
    except ImportError as error:
        raise ImportError(
            "the referee needs cvxpy: pip install 'paretax[reference]'"
        ) from error
    return cvxpy
