"""What to look at while members train together."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from paretax.ensembles._slices import over_slices

__all__ = ["effective_donors", "member_distances"]


def effective_donors(matrix: Float[Array, "*b k k"]) -> Float[Array, "*b k"]:
    """How many members each one takes from, itself included: 1/Σ_j M_kj².

    The participation ratio of a row: n where n members share it equally. For own
    mini-batches of equal noise it is the factor by which averaging by M lowers the
    variance.

    Args:
      matrix: M, rows non-negative and summing to 1; `optax.tree.get(state, "matrix")`,
        or many of them, stacked.

    Returns:
      Shape [..., k], in [1, k].

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import ensembles
      >>> ensembles.effective_donors(jnp.array([[0.5, 0.5], [0.0, 1.0]])).tolist()
      [2.0, 1.0]

    Cost: k² operations.
    """
    return 1 / jnp.sum(jnp.asarray(matrix) ** 2, axis=-1)


def member_distances(params: PyTree[Float[Array, "k ..."]]) -> Float[Array, "k k"]:
    """Euclidean distances of the members' parameters, from differences.

    Args:
      params: leaves [k, ...]. Inside a coupling under a `Placement`, the slices that it
        is given.

    Returns:
      Shape [k, k], symmetric, in float32 at least; exact where members are close, which
      distances from inner products are not. NaN beside a member that holds NaN.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import ensembles
      >>> ensembles.member_distances({"a": jnp.array([[3.0], [0.0]]),
      ...                             "b": jnp.array([4.0, 0.0])}).tolist()
      [[0.0, 5.0], [5.0, 0.0]]

    Cost: 3k² operations a parameter, one member against all at a time.
    """
    k = jax.tree.leaves(params)[0].shape[0]
    square = jnp.zeros((k, k))
    for leaf in jax.tree.leaves(params):
        rows = leaf.reshape(k, -1).astype(jnp.promote_types(leaf.dtype, jnp.float32))
        part = jax.lax.map(lambda row, rows=rows: jnp.sum((rows - row) ** 2, 1), rows)
        square = square + part
    return jnp.sqrt(over_slices(square))
