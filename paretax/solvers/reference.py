"""The inner problems stated in cvxpy: the referee, on the host, for who doubts us.

Needs the extra `reference`. Inputs and outputs are numpy arrays in float64, solved by
Clarabel to 1e-10 where it can. Each costs milliseconds to seconds.
"""

import numpy as np

__all__ = ["bargain", "lp", "min_norm", "project_cone", "qp", "trade_off"]


def bargain(gram: np.ndarray, preference: np.ndarray | None = None) -> np.ndarray:
    """min ½aᵀKa − Σᵢ pᵢ log aᵢ, in unit-diagonal coordinates.

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
    scale = 1 / np.sqrt(np.diag(gram))
    factor = _root(gram * scale[:, None] * scale)
    p = np.ones(len(gram)) if preference is None else np.asarray(preference, float)
    u = cvxpy.Variable(len(gram))
    objective = cvxpy.sum_squares(factor @ u) / 2 - p @ cvxpy.log(u)
    _solve(cvxpy, objective, [])
    return scale * np.asarray(u.value)


def min_norm(gram: np.ndarray) -> np.ndarray:
    """min wᵀKw over the simplex.

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
    w = cvxpy.Variable(len(gram), nonneg=True)
    objective = cvxpy.sum_squares(_root(gram / size) @ w)
    _solve(cvxpy, objective, [cvxpy.sum(w) == 1])
    return np.asarray(w.value)


def project_cone(gram: np.ndarray, target: np.ndarray) -> np.ndarray:
    """min vᵀKv subject to v ≥ t, for each row t of `target`.

    Args:
      gram: K, shape [m, m], positive semi-definite.
      target: shape [m] or [r, m].

    Returns:
      v, of the shape of `target`.

    Raises:
      ImportError: the extra `reference` is not installed.
      cvxpy.SolverError: Clarabel gave up.

    Example:
      >>> import numpy as np
      >>> from paretax.solvers import reference
      >>> gram = np.array([[1.0, -0.5], [-0.5, 1.0]])
      >>> reference.project_cone(gram, np.eye(2)).round(3).tolist()
      [[1.0, 0.5], [0.5, 1.0]]

    Cost: milliseconds to seconds a row.
    """
    cvxpy = _cvxpy()
    factor = _root(gram / max(np.trace(gram), np.finfo(float).tiny))
    found = []
    for row in np.atleast_2d(target):
        v = cvxpy.Variable(len(gram))
        _solve(cvxpy, cvxpy.sum_squares(factor @ v), [v >= row])
        found.append(np.asarray(v.value))
    return np.stack(found).reshape(np.shape(target))


def trade_off(gram: np.ndarray, c: float = 0.4) -> np.ndarray:
    """max_d minᵢ gᵢᵀd subject to ‖d − g₀‖ ≤ c‖g₀‖, in the span of the gradients.

    Args:
      gram: K, shape [m, m], positive semi-definite.
      c: ≥ 0, the radius relative to the norm of the mean gradient.

    Returns:
      Jd, shape [m]: how fast each task falls along d. (The weights of d are not unique
      where K is singular; these are.)

    Raises:
      ImportError: the extra `reference` is not installed.
      cvxpy.SolverError: Clarabel gave up.

    Example:
      >>> import numpy as np
      >>> from paretax.solvers import reference
      >>> reference.trade_off(np.diag([4.0, 1.0]), 0.5).round(3).tolist()
      [2.0, 1.059]

    Cost: milliseconds to seconds.
    """
    cvxpy = _cvxpy()
    m = len(gram)
    factor = _root(gram / max(np.trace(gram) / m, np.finfo(float).tiny))
    mean = factor.mean(1)
    d = cvxpy.Variable(m)
    ball = cvxpy.norm(d - mean) <= c * np.linalg.norm(mean)
    _solve(cvxpy, -cvxpy.min(factor.T @ d), [ball])
    return factor.T @ np.asarray(d.value) * (np.trace(gram) / m)


def qp(Q, q, A=None, b=None, G=None, h=None) -> np.ndarray:
    """min ½xᵀQx + qᵀx subject to A x = b and G x ≤ h.

    Args:
      Q: shape [n, n], positive semi-definite.
      q: shape [n].
      A: shape [p, n], with b of shape [p]; None is no equation.
      b: see A.
      G: shape [l, n], with h of shape [l]; None is no inequality.
      h: see G.

    Returns:
      x, shape [n].

    Raises:
      ImportError: the extra `reference` is not installed.
      cvxpy.SolverError: Clarabel gave up.

    Example:
      >>> import numpy as np
      >>> from paretax.solvers import reference
      >>> reference.qp(np.eye(2), np.array([-2.0, 1.0])).round(3).tolist()
      [2.0, -1.0]

    Cost: milliseconds to seconds.
    """
    cvxpy = _cvxpy()
    x = cvxpy.Variable(len(q))
    limits = [] if A is None else [A @ x == b]
    limits += [] if G is None else [G @ x <= h]
    _solve(cvxpy, cvxpy.sum_squares(_root(Q) @ x) / 2 + q @ x, limits)
    return np.asarray(x.value)


def lp(c, A=None, b=None, G=None, h=None) -> np.ndarray:
    """min cᵀx subject to A x = b and G x ≤ h.

    Args:
      c: shape [n].
      A: as for `qp`.
      b: as for `qp`.
      G: as for `qp`.
      h: as for `qp`.

    Returns:
      x, shape [n].

    Raises:
      ImportError: the extra `reference` is not installed.
      cvxpy.SolverError: Clarabel gave up.

    Example:
      >>> import numpy as np
      >>> from paretax.solvers import reference
      >>> ones, zeros = np.ones((1, 2)), np.zeros(2)
      >>> x = reference.lp(np.array([2.0, 1.0]), ones, np.ones(1), -np.eye(2), zeros)
      >>> abs(x.round(3)).tolist()
      [0.0, 1.0]

    Cost: milliseconds to seconds.
    """
    return qp(np.zeros((len(c), len(c))), c, A, b, G, h)


def _solve(cvxpy, objective, limits):
    tight = {f"tol_{name}": 1e-10 for name in ("gap_abs", "gap_rel", "feas")}
    problem = cvxpy.Problem(cvxpy.Minimize(objective), limits)
    problem.solve(solver=cvxpy.CLARABEL, **tight)


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
