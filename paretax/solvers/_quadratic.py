"""Small dense convex quadratic and linear programs."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from paretax._types import Solution
from paretax.solvers._condition import in_float64, precision_scope, verdict
from paretax.solvers._implicit import implicit
from paretax.solvers._interior_point import (
    Point,
    Program,
    largest,
    residuals,
    solve,
    solve_kkt,
)
from paretax.solvers._linear import product

__all__ = ["lp", "qp"]


def qp(
    Q: ArrayLike,
    q: ArrayLike,
    A: ArrayLike | None = None,
    b: ArrayLike | None = None,
    G: ArrayLike | None = None,
    h: ArrayLike | None = None,
) -> Solution:
    """x = argmin ½xᵀQx + qᵀx subject to A x = b and G x ≤ h.

    Args:
      Q: shape [n, n], symmetric, positive semi-definite; its dtype, float32 or float64,
        is that of the answer. The solve runs in float64.
      q: shape [n].
      A: shape [p, n], of full row rank, with b of shape [p]; None is no equation.
      b: see A.
      G: shape [l, n] with h of shape [l]; None is no inequality.
      h: see G.

    Returns:
      A `Solution` with value x, shape [n]. `error` is the largest of the residuals of
      stationarity, of feasibility and of the duality gap, each relative to its largest
      term, rows of A and G and the objective scaled to unit size; `converged` says that
      it is at most 1e-4 in float32 or 1e-8 in float64, and is False for an infeasible
      or unbounded program. Where there are many solutions, x is one in the interior of
      their set. Where the data are not finite, x is NaN.

      Differentiable in all six arguments, forward and reverse, by the optimality
      conditions, where the solution is unique.

    Raises:
      ValueError: shapes that do not fit, or only one of a pair given.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax.solvers import qp
      >>> solution = qp(jnp.eye(2), jnp.array([-2.0, 0.0]), G=jnp.eye(2), h=jnp.ones(2))
      >>> [round(abs(x), 3) for x in solution.value.tolist()]
      [1.0, 0.0]

    Cost: two Cholesky factorizations of n×n and of p×p a step, commonly 5 to 15 steps.

    Reference: Mehrotra, "On the implementation of a primal-dual interior point method",
    SIAM J. Optim. 1992. `docs/decisions/own-quadratic-programs.md` compares qpax.
    """
    program = _checked(Q, q, A, b, G, h)
    with precision_scope(program.quadratic.dtype):
        fixed = jax.lax.stop_gradient(program)
        scaled, units = _scaled(fixed)
        # In float64 whatever the data: the matrices of an interior point are as
        # ill-conditioned as its answer is exact.
        wide = in_float64(lambda *data: tuple(solve(Program(*data))))
        point, error, steps = wide(*scaled)
        finite = [jnp.all(jnp.isfinite(leaf)) for leaf in fixed]
        known = jnp.all(jnp.stack(finite))
        point = jax.tree.map(lambda leaf: jnp.where(known, leaf, jnp.nan), point)
        rescaled = Point(point.x, point.s * units[2], *_multipliers(point, units))
        root = implicit(_conditions, _linearized, tuple(program), rescaled)
        error, converged = verdict(error, point.x)
        return Solution(root.x, converged, steps, error)


def lp(
    c: ArrayLike,
    A: ArrayLike | None = None,
    b: ArrayLike | None = None,
    G: ArrayLike | None = None,
    h: ArrayLike | None = None,
) -> Solution:
    """x = argmin cᵀx subject to A x = b and G x ≤ h: `qp` without a quadratic term.

    Args:
      c: shape [n]; its dtype, float32 or float64, is that of the answer.
      A: as for `qp`.
      b: as for `qp`.
      G: as for `qp`.
      h: as for `qp`.

    Returns:
      As `qp`.

    Raises:
      ValueError: as `qp`.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax.solvers import lp
      >>> ones, zeros = jnp.ones((1, 3)), jnp.zeros(3)
      >>> c = jnp.array([3.0, 1.0, 2.0])
      >>> solution = lp(c, A=ones, b=jnp.ones(1), G=-jnp.eye(3), h=zeros)
      >>> [round(abs(x), 3) for x in solution.value.tolist()]
      [0.0, 1.0, 0.0]

    Cost: as `qp`.

    Reference: as `qp`. The linear programs of Mahapatra & Rajan, "Multi-task learning
    with user preferences" (EPO), ICML 2020, have this form.
    """
    if jnp.ndim(c) != 1:
        raise ValueError(f"c: expected shape [n], got {jnp.shape(c)}.")
    n = jnp.shape(c)[0]
    return qp(jnp.zeros((n, n), jnp.result_type(c, float)), c, A, b, G, h)


def _checked(Q, q, A, b, G, h):
    shape = jnp.shape(Q)
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        raise ValueError(f"Q: expected shape [n, n], got {shape}.")
    n = shape[0]
    if jnp.shape(q) != (n,):
        raise ValueError(f"q: expected shape ({n},), got {jnp.shape(q)}.")
    for names, matrix, side in (("A, b", A, b), ("G, h", G, h)):
        if (matrix is None) != (side is None):
            raise ValueError(f"{names}: expected both or neither.")
        if matrix is None:
            continue
        rows = jnp.shape(matrix)
        if len(rows) != 2 or rows[1] != n or jnp.shape(side) != rows[:1]:
            raise ValueError(
                f"{names}: expected shapes [r, {n}] and [r], got {rows} and "
                f"{jnp.shape(side)}."
            )
    dtype = jnp.result_type(Q, jnp.float32)
    with precision_scope(dtype):
        none, nothing = jnp.zeros((0, n), dtype), jnp.zeros(0, dtype)
        data = (Q, q, none if A is None else A, nothing if b is None else b)
        data += (none if G is None else G, nothing if h is None else h)
        return Program(*(jnp.asarray(x, dtype) for x in data))


def _scaled(program):
    """Rows of A and G of unit norm, an objective of unit size; and those units."""

    def rows(matrix):
        norm = jnp.sqrt(jnp.sum(matrix * matrix, axis=1))
        return jnp.where(norm > 0, norm, 1.0)

    size = jnp.maximum(largest(program.quadratic), largest(program.linear))
    size = jnp.where(size > 0, size, 1.0)
    equal, below = rows(program.equal), rows(program.below)
    scaled = Program(
        quadratic=program.quadratic / size,
        linear=program.linear / size,
        equal=program.equal / equal[:, None],
        equal_to=program.equal_to / equal,
        below=program.below / below[:, None],
        below_to=program.below_to / below,
    )
    return scaled, (size, equal, below)


def _multipliers(point, units):
    size, equal, below = units
    return point.y * size / equal, point.z * size / below


def _conditions(params, point, _):
    program = Program(*params)
    slack = product(program.below, point.x) - program.below_to
    dual, equal, _ = residuals(program, point)
    return dual, equal, point.z * slack


def _linearized(params, point, _, right):
    """Q dx + Aᵀdy + Gᵀdz, A dx and z∘G dx − s∘dz as given."""
    program = Program(*params)
    dual, equal, slack = right
    dx, dy = solve_kkt(
        program,
        point.z / point.s,
        dual + product(program.below.T, slack / point.s),
        equal,
    )
    dz = (point.z * product(program.below, dx) - slack) / point.s
    return Point(dx, jnp.zeros_like(point.s), dy, dz)
