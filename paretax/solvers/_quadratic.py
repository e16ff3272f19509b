"""Small dense convex quadratic and linear programs."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from paretax._types import Solution
from paretax.solvers._condition import in_float64, or_nan, precision_scope, verdict
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
      term, in a scaled program; `converged` says that it is at most 1e-4 in float32 or
      1e-8 in float64, and is False for an infeasible or unbounded program. Where there
      are many solutions, x is one in the interior of their set. Where the data are not
      finite, x is NaN.

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

    Cost: four Cholesky factorizations of n×n and two of p×p a step, commonly 10 to 30
    steps.

    Reference: Mehrotra, "On the implementation of a primal-dual interior point method",
    SIAM J. Optim. 1992. `docs/decisions/own-quadratic-programs.md` compares qpax.
    """
    program = _checked(Q, q, A, b, G, h)
    with precision_scope(program.quadratic.dtype):
        return _solution(program)


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


# Compiled once for all calls outside a compiled program; inside one, part of it.
@functools.partial(jax.jit, inline=True)
def _solution(program):
    fixed = jax.lax.stop_gradient(program)
    scaled, units = _scaled(fixed)
    # In float64 whatever the data: the matrices of an interior point are as
    # ill-conditioned as its answer is exact.
    wide = in_float64(lambda *data: tuple(solve(Program(*data))))
    point, error, steps = wide(*scaled)
    point = or_nan(_unscaled(point, units), *fixed)
    root = implicit(_conditions, _linearized, tuple(program), point)
    error, converged = verdict(error, point.x)
    return Solution(root.x, converged, steps, error)


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


class _Units(NamedTuple):
    """What a scaled program's columns, objective and rows are measured in."""

    columns: Float[Array, " n"]
    objective: Float[Array, ""]
    equal: Float[Array, " p"]
    below: Float[Array, " l"]


def _scaled(program):
    """Q with an even diagonal, rows of A and G of unit norm, an objective of unit size.

    Columns differ by a factor of 1e4 at most, so that a variable that the objective
    hardly bends keeps a measure.
    """

    def rows(matrix):
        norm = jnp.sqrt(jnp.sum(matrix * matrix, axis=1))
        return jnp.where(norm > 0, norm, 1.0)

    bend = jnp.diagonal(program.quadratic)
    top = jnp.max(bend)
    bend = jnp.maximum(bend, 1e-8 * top)
    columns = jnp.sqrt(jnp.where(top > 0, top / jnp.where(top > 0, bend, 1.0), 1.0))
    quadratic = program.quadratic * columns[:, None] * columns
    linear = program.linear * columns
    size = jnp.maximum(largest(quadratic), largest(linear))
    size = jnp.where(size > 0, size, 1.0)
    equal, below = program.equal * columns, program.below * columns
    units = _Units(columns, size, rows(equal), rows(below))
    scaled = Program(
        quadratic=quadratic / size,
        linear=linear / size,
        equal=equal / units.equal[:, None],
        equal_to=program.equal_to / units.equal,
        below=below / units.below[:, None],
        below_to=program.below_to / units.below,
    )
    return scaled, units


def _unscaled(point, units):
    return Point(
        x=point.x * units.columns,
        s=point.s * units.below,
        y=point.y * units.objective / units.equal,
        z=point.z * units.objective / units.below,
    )


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
