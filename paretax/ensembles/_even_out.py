"""Preferences that follow the front, so that it comes out evenly spaced."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from paretax._checks import check_points, is_concrete
from paretax.ensembles._preferences import check_preferences
from paretax.metrics._distances import length

__all__ = ["even_out"]


def even_out(
    preferences: Float[Array, "k 2"] | ArrayLike,
    losses: Float[Array, "k 2"] | ArrayLike,
) -> Float[Array, "k 2"]:
    """New preferences for which the front would be evenly spaced, for two objectives.

    Members sorted by λ₁ are the corners of a polygon in loss space, each loss divided
    by its range over the members. With sⱼ the length of the polygon up to member j, the
    new λ of the member of rank j is where the piecewise linear map s ↦ λ, through all
    (sⱼ, λⱼ), takes the j-th of k evenly spaced lengths.

    Args:
      preferences: λ, shape [k, 2], rows on the simplex, k ≥ 2.
      losses: of the members, shape [k, 2], trained for these preferences.

    Returns:
      Shape [k, 2], rows on the simplex, row by row for the same members: ranks do not
      change, and the members with the least and the greatest λ₁ keep theirs. A polygon
      of equal sides is a fixed point. Members whose losses are not all finite keep
      their preference, and the others are evened out without them. If all losses are
      equal, nothing changes.

      Half the way is `(λ + even_out(λ, f)) / 2`, for losses that are noisy.

    Raises:
      ValueError: rows that are no preferences, fewer than two; more than two
        objectives, where a front has no order along which to measure.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import ensembles
      >>> grid = ensembles.das_dennis(2, 2)
      >>> losses = jnp.array([[1.0, 0.0], [0.25, 0.25], [0.0, 1.0]])
      >>> ensembles.even_out(grid, losses).tolist()  # even already
      [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]
      >>> losses = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
      >>> ensembles.even_out(grid, losses).tolist()
      [[0.0, 1.0], [0.25, 0.75], [1.0, 0.0]]

    Cost: a sort of k.

    Reference: ours. It is the equidistribution of arc length by inverse interpolation
    (de Boor, "Good approximation by splines with variable knots II", 1974), with the
    members as the mesh.
    """
    w, f = _checked(preferences, losses)
    known = jnp.all(jnp.isfinite(f), axis=1)
    order = jnp.argsort(jnp.where(known, w[:, 0], jnp.inf))
    last = jnp.sum(known) - 1
    rank = jnp.arange(w.shape[0])
    lengths = _lengths(f[order], rank <= last)
    total = lengths[-1]
    sorted_w = w[order]
    targets = total * rank / jnp.maximum(last, 1)
    left = jnp.searchsorted(lengths, targets, side="right") - 1
    left = jnp.clip(left, 0, jnp.maximum(last - 1, 0))
    side = lengths[left + 1] - lengths[left]
    long = side > 0
    share = jnp.where(long, (targets - lengths[left]) / jnp.where(long, side, 1.0), 0.0)
    share = jnp.clip(share, 0.0, 1.0)[:, None]
    between = (1 - share) * sorted_w[left] + share * sorted_w[left + 1]
    moves = (rank > 0) & (rank < last) & (total > 0)
    return w.at[order].set(jnp.where(moves[:, None], between, sorted_w))


def _lengths(losses, known):
    """Of the polygon up to each corner, in units of the ranges; unknown add nothing."""
    some = known[:, None]
    low = jnp.min(jnp.where(some, losses, jnp.inf), axis=0)
    high = jnp.max(jnp.where(some, losses, -jnp.inf), axis=0)
    varies = high > low
    scaled = jnp.where(some & varies, losses - low, 0.0) / jnp.where(
        varies, high - low, 1.0
    )
    sides = jnp.where(known[1:], length(jnp.diff(scaled, axis=0)), 0.0)
    return jnp.append(0.0, jnp.cumsum(sides))


def _checked(preferences, losses):
    w = check_points("preferences", preferences, least=2)
    f = check_points("losses", losses, least=2)
    if w.shape[1] != 2:
        raise ValueError(
            f"preferences: expected 2 objectives, got {w.shape[1]}; a front of more "
            "has no order along which to space members; use riesz_energy."
        )
    if f.shape != w.shape:
        raise ValueError(f"losses: expected shape {w.shape}, got {f.shape}.")
    if is_concrete(w):
        check_preferences(w)
    return w, f
