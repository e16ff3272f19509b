"""Preferences that keep away from one another."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from paretax._checks import check_count, check_key, check_positive
from paretax._types import Solution
from paretax.solvers import project_simplex

__all__ = ["riesz_energy"]

TOLERANCE = {"float32": 1e-4, "float64": 1e-8}
SUFFICIENT = 1e-4
"""Armijo's constant."""
MEMORY = 0.85
"""How much of the past the value counts that a step must fall below."""
HALVINGS = 20

_project = jax.vmap(project_simplex)


class _Descent(NamedTuple):
    """Where the descent is.

    Attributes:
      x: the points, shape [k, m].
      value: φ(x).
      slope: its gradient.
      bar: what the next value must fall below.
      rate: the step along the gradient to try next.
      steps: taken so far.
      error: how far x is from stationary.
    """

    x: Float[Array, "k m"]
    value: Float[Array, ""]
    slope: Float[Array, "k m"]
    bar: Float[Array, ""]
    rate: Float[Array, ""]
    steps: Int[Array, ""]
    error: Float[Array, ""]


def riesz_energy(
    key: Array,
    num_members: int,
    num_objectives: int,
    *,
    exponent: float | None = None,
    num_starts: int = 8,
    max_steps: int = 2000,
) -> Solution:
    """k points of the simplex that repel one another, for any k.

    A local minimum of E = Σ_{i≠j} ‖xᵢ − xⱼ‖⁻ˢ over points xᵢ of the simplex, the best
    of several: descent starts from the corners, if there are that many points, and
    others drawn uniformly, and goes along the projected gradient of φ = (1/s) log E.

    Args:
      key: a typed key, for the starts.
      num_members: k ≥ 2.
      num_objectives: m ≥ 1.
      exponent: s > 0; None is 2m. With s > m − 1 the points become uniform as k grows;
        the larger s, the more only the nearest neighbors count.
      num_starts: descents, at least 1.
      max_steps: of each descent.

    Returns:
      A `Solution` with value x, shape [k, m], rows non-negative, of sum 1 and in
      lexicographic order to three decimals. `error` is how far a projected gradient
      step would move a coordinate, in units of the least distance δ between two points:
      max |P(x − δ²∇φ) − x|/δ; `converged` says that it is at most 1e-4 in float32 or
      1e-8 in float64 for the points returned. Whether a lower minimum exists is not
      certified.

    Raises:
      ValueError: a number too small, no typed key.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from paretax import ensembles
      >>> points = ensembles.riesz_energy(jax.random.key(0), 3, 2)
      >>> points.value.round(3).tolist(), bool(points.converged)
      ([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]], True)

    Cost: num_starts·k²·m operations and numbers a step; tens of steps for ten points,
    hundreds for a hundred.

    Reference: Hardin & Saff, "Discretizing manifolds via minimum energy points",
    Notices of the AMS 51(10), 2004; for the simplex, Blank, Deb, Dhebar, Bandaru &
    Seada, "Generating well-spaced points on a unit simplex for evolutionary
    many-objective optimization", IEEE TEVC 25(1), 2021, whose code (pymoo) has s = 2m
    too. Departures: spectral projected gradients (Birgin, Martínez & Raydan, SIAM J.
    Optim. 10(4), 2000) in place of Adam with restarts, so that there is a certificate;
    a step must fall below a running average of values, not below the largest of the
    last ten; several random starts in place of one from k-means.
    """
    k = check_count("num_members", num_members, least=2)
    m = check_count("num_objectives", num_objectives)
    s = 2.0 * m if exponent is None else check_positive("exponent", exponent)
    starts = check_count("num_starts", num_starts)
    limit = check_count("max_steps", max_steps)
    draws = jax.random.dirichlet(check_key(key), jnp.ones(m), (starts, k))
    if k >= m:
        draws = draws.at[:, :m].set(jnp.eye(m))
    return _best(draws, jnp.asarray(s, draws.dtype), limit)


@functools.partial(jax.jit, static_argnums=2)
def _best(draws, exponent, limit):
    tol = TOLERANCE[draws.dtype.name]
    ends = jax.vmap(lambda x: _descend(x, exponent, limit, tol))(draws)
    best = jnp.argmin(ends.value)
    x, steps, error = ends.x[best], ends.steps[best], ends.error[best]
    # Rounded, for zeros and halves carry the noise of the descent.
    order = jnp.lexsort(jnp.round(x, 3).T[::-1])
    return Solution(x[order], error <= tol, steps, error)


def _descend(x, exponent, limit, tol):
    measure = jax.value_and_grad(lambda x: _energy(x, exponent))

    def go_on(at):
        return (at.error > tol) & (at.steps < limit)

    def step(at):
        way = _project(at.x - at.rate * at.slope) - at.x
        falls = jnp.sum(way * at.slope)

        def too_high(carry):
            share, value, _ = carry
            least_share = 0.5**HALVINGS
            return (value > at.bar + SUFFICIENT * share * falls) & (share > least_share)

        def shorten(carry):
            return (carry[0] / 2, *measure(at.x + carry[0] / 2 * way))

        first = (jnp.ones((), x.dtype), *measure(at.x + way))
        share, value, slope = jax.lax.while_loop(too_high, shorten, first)
        moved = _project(at.x + share * way)
        change, bend = moved - at.x, jnp.sum((moved - at.x) * (slope - at.slope))
        curved = bend > 0
        rate = jnp.sum(change**2) / jnp.where(curved, bend, 1.0)
        rate = jnp.where(curved, rate, 2 * at.rate)
        bar = jnp.maximum(value, MEMORY * at.bar + (1 - MEMORY) * value)
        error = _error(moved, slope)
        return _Descent(moved, value, slope, bar, rate, at.steps + 1, error)

    value, slope = measure(x)
    steps, error = jnp.zeros((), jnp.int32), _error(x, slope)
    start = _Descent(x, value, slope, value, _nearest(x), steps, error)
    return jax.lax.while_loop(go_on, step, start)


def _squares(x):
    """Squared distances, and 1 from a point to itself; and which is which."""
    other = ~jnp.eye(x.shape[0], dtype=bool)
    square = jnp.sum((x[:, None] - x[None]) ** 2, axis=-1)
    return jnp.where(other, square, 1.0), other


def _energy(x, exponent):
    square, other = _squares(x)
    terms = jnp.where(other, -0.5 * exponent * jnp.log(square), -jnp.inf)
    return jax.scipy.special.logsumexp(terms) / exponent


def _nearest(x):
    square, other = _squares(x)
    return jnp.min(jnp.where(other, square, jnp.inf))


def _error(x, slope):
    nearest = _nearest(x)
    return jnp.max(jnp.abs(_project(x - nearest * slope) - x)) / jnp.sqrt(nearest)
