"""Sets of preferences on the simplex."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from paretax._checks import check_count, check_preference, is_concrete

__all__ = ["check_preferences", "das_dennis", "dirichlet", "uniform_simplex"]


def das_dennis(num_objectives: int, partitions: int) -> Float[Array, "k m"]:
    """All points of the simplex whose coordinates are multiples of 1/partitions.

    Args:
      num_objectives: m ≥ 1.
      partitions: p ≥ 1, steps along each edge.

    Returns:
      Shape [k, m], k = C(p + m − 1, m − 1), in lexicographic order; rows are
      non-negative and sum to 1.

    Raises:
      ValueError: an argument below 1, or more than a million points.

    Example:
      >>> from paretax import ensembles
      >>> ensembles.das_dennis(2, 2).tolist()
      [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]

    Cost: k·m numbers, made on the host.

    Reference: Das & Dennis, "Normal-Boundary Intersection", SIAM J. Optim. 8(3), 1998.
    """
    m = check_count("num_objectives", num_objectives)
    p = check_count("partitions", partitions)
    count = math.comb(p + m - 1, m - 1)
    if count > 1_000_000:
        raise ValueError(
            f"partitions: expected at most a million points, got {count}; "
            "use fewer partitions or uniform_simplex."
        )
    # Each way of placing m − 1 bars among p + m − 1 places is one point.
    bars = itertools.combinations(range(p + m - 1), m - 1)
    ends = np.asarray([(-1, *bar, p + m - 1) for bar in bars])
    return jnp.asarray((np.diff(ends, axis=1) - 1) / p, dtype=float)


def uniform_simplex(
    key: Array, num_members: int, num_objectives: int
) -> Float[Array, "k m"]:
    """Independent points, uniform on the simplex.

    Args:
      key: a typed key.
      num_members: k ≥ 1.
      num_objectives: m ≥ 1.

    Returns:
      Shape [k, m]; rows are non-negative and sum to 1.

    Raises:
      ValueError: a number below 1.

    Example:
      >>> import jax
      >>> from paretax import ensembles
      >>> ensembles.uniform_simplex(jax.random.key(0), 5, 3).shape
      (5, 3)

    Cost: k·m exponential variates.
    """
    k = check_count("num_members", num_members)
    m = check_count("num_objectives", num_objectives)
    return jax.random.dirichlet(key, jnp.ones(m), (k,))


def dirichlet(
    key: Array,
    num_members: int,
    num_objectives: int,
    *,
    concentration: float | Float[Array, " m"] = 1.0,
) -> Float[Array, "k m"]:
    """Independent points of the simplex, drawn to its corners or to its middle.

    The density at w is proportional to Πᵢ wᵢ^(αᵢ − 1), the mean α/Σα.

    Args:
      key: a typed key.
      num_members: k ≥ 1.
      num_objectives: m ≥ 1.
      concentration: α > 0, one number for all objectives or shape [m]. 1 is
        `uniform_simplex`, less favors the corners, more the mean.

    Returns:
      Shape [k, m]; rows are non-negative and sum to 1.

    Raises:
      ValueError: a number below 1, a concentration that is not positive or of another
        shape.

    Example:
      >>> import jax
      >>> from paretax import ensembles
      >>> w = ensembles.dirichlet(jax.random.key(0), 5, 3, concentration=0.2)
      >>> w.shape
      (5, 3)

    Cost: k·m gamma variates.

    Reference: for preferences, Navon et al., "Learning the Pareto front with
    hypernetworks", ICLR 2021, arXiv:2010.04104, whose code has α = 0.2.
    """
    k = check_count("num_members", num_members)
    m = check_count("num_objectives", num_objectives)
    alpha = jnp.asarray(concentration, dtype=float)
    if alpha.shape not in {(), (m,)}:
        raise ValueError(
            f"concentration: expected a number or shape {(m,)}, got {alpha.shape}."
        )
    if is_concrete(alpha) and not bool(jnp.all((alpha > 0) & jnp.isfinite(alpha))):
        raise ValueError(
            f"concentration: expected numbers above 0, got {alpha.tolist()}."
        )
    return jax.random.dirichlet(key, jnp.broadcast_to(alpha, m), (k,))


def check_preferences(preferences) -> Float[Array, "k m"]:
    """An array [k, m] whose rows are preferences; names the first row that is none."""
    values = jnp.asarray(preferences, dtype=float)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(
            f"preferences: expected shape [k, m], one row a member, got {values.shape}."
        )
    for i, row in enumerate(values):
        check_preference(row, f"preferences[{i}]")
    return values
