"""How far a set of points is from a front."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from paretax._checks import check_points

__all__ = ["igd", "igd_plus", "length"]


def length(vectors: Float[Array, "... m"]) -> Float[Array, "..."]:
    """The Euclidean norm over the last axis: no overflow, and derivative 0 at 0."""
    top = jax.lax.stop_gradient(jnp.max(jnp.abs(vectors), axis=-1))
    unit = jnp.where(top > 0, top, 1.0)
    square = jnp.sum((vectors / unit[..., None]) ** 2, axis=-1)
    zero = square == 0
    return unit * jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, square)))


def igd(
    points: Float[Array, "n m"] | ArrayLike, front: Float[Array, "q m"] | ArrayLike
) -> Float[Array, ""]:
    """The inverted generational distance: how far the front is from the points.

    IGD(Y; Z) = mean over z ∈ Z of min over y ∈ Y of ‖y − z‖₂.

    Args:
      points: Y, shape [n, m], n ≥ 1, objectives to be minimized.
      front: Z, shape [q, m], q ≥ 1, points of the true front, evenly spread.

    Returns:
      A scalar, at least 0, in units of the objectives; NaN if a number is NaN. It can
      rank a dominated set before the one that dominates it; `igd_plus` cannot.
      Differentiable: where two points are equally near, they share the derivative; it
      is 0 for a point that lies on z.

    Raises:
      ValueError: no points, or different numbers of objectives.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import metrics
      >>> front = jnp.array([[0.0, 1.0], [1.0, 0.0]])
      >>> float(metrics.igd(jnp.array([[0.0, 1.0], [4.0, 4.0]]), front))
      0.7071067690849304

    Cost: n·q·m operations and numbers.

    Reference: Coello Coello & Reyes Sierra, "A study of the parallelization of a
    coevolutionary multi-objective evolutionary algorithm", MICAI 2004. The mean of the
    distances themselves, as in moocore and pymoo; some papers take the root of the sum
    of their squares, over q.
    """
    y, z = _both(points, front)
    return _mean_of_nearest(y[None] - z[:, None])


def igd_plus(
    points: Float[Array, "n m"] | ArrayLike, front: Float[Array, "q m"] | ArrayLike
) -> Float[Array, ""]:
    """IGD that counts only by how much points are worse than the front.

    IGD⁺(Y; Z) = mean over z ∈ Z of min over y ∈ Y of ‖(y − z)₊‖₂.

    Args:
      points: Y, shape [n, m], n ≥ 1, objectives to be minimized.
      front: Z, shape [q, m], q ≥ 1, points of the true front, evenly spread.

    Returns:
      A scalar, at least 0, in units of the objectives; NaN if a number is NaN. If every
      point of one set is weakly dominated by some point of another, then the other's
      value is not greater. Differentiable as `igd`.

    Raises:
      ValueError: no points, or different numbers of objectives.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import metrics
      >>> front = jnp.array([[0.0, 1.0], [1.0, 0.0]])
      >>> float(metrics.igd_plus(jnp.array([[0.0, 1.5]]), front))
      1.0

    Cost: n·q·m operations and numbers.

    Reference: Ishibuchi, Masuda, Tanigaki & Nojima, "Modified distance calculation in
    generational distance and inverted generational distance", EMO 2015.
    """
    y, z = _both(points, front)
    return _mean_of_nearest(jnp.maximum(y[None] - z[:, None], 0.0))


def _mean_of_nearest(differences):
    return jnp.mean(jnp.min(length(differences), axis=1))


def _both(points, front):
    y, z = check_points("points", points), check_points("front", front)
    if y.shape[1] != z.shape[1]:
        raise ValueError(
            f"front: expected {y.shape[1]} objectives, as points have, got "
            f"{z.shape[1]}."
        )
    return y, z
