"""Independent component alignment."""

from typing import Literal

import jax.numpy as jnp
from jax.typing import ArrayLike

from paretax._checks import check_choice
from paretax._types import Weights
from paretax._weighting import Weighting
from paretax.solvers import inverse_root
from paretax.weightings._preferred import preferred

__all__ = ["aligned_mtl"]

Scale = Literal["min", "median", "rmse"]


def aligned_mtl(
    *, scale: Scale = "min", preference: Weights | ArrayLike | None = None
) -> Weighting:
    """The weighted sum of gradients whose principal components have equal length.

    With K = VΛVᵀ, w = √σ V Λ^(−1/2) Vᵀ p: all singular values of the gradient matrix
    become √σ, its singular vectors stay, and the tasks are summed with weights p.

    Args:
      scale: σ is the smallest eigenvalue of K ("min"), their lower median ("median") or
        their mean ("rmse": √σ is then the root mean square of the singular values);
        eigenvalues of at most 10m·eps times the largest are left out.
      preference: p, shape [m], non-negative, summing to 1; None is 1/m each.

    Returns:
      A weighting on the Gramian. Weights may be negative. With independent gradients
      gᵢᵀd = √σ (K^½p)ᵢ. Where gradients nearly depend on one another, "min" makes the
      direction short, and whether an eigenvalue counts as 0 changes it abruptly:
      `precise=True` moves that threshold down.

    Raises:
      ValueError: `scale` is none of the three; p is no point of the simplex; at `init`,
        m is not its length.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> weights, _ = px.aligned_mtl().update(jnp.array([[4.0, 0.0], [0.0, 1.0]]),
      ...                                      px.aligned_mtl().init(2))
      >>> [round(w, 3) for w in weights.tolist()]
      [0.25, 0.5]

    Cost: an m×m eigendecomposition; m backward passes a step.

    Reference: Senushkin et al., "Independent Component Alignment for Multi-Task
    Learning", CVPR 2023, arXiv:2305.19000. Departures: the official code leaves out
    eigenvalues of at most m·eps times the largest, less than what rounding leaves of 0;
    the derivative is finite at repeated eigenvalues, where an eigendecomposition's is
    not.
    """
    check_choice("scale", scale, Scale)

    def weights(gram, share):
        # In units of the largest diagonal entry, so that no power of K overflows.
        size = jnp.max(jnp.diagonal(gram))
        root = inverse_root(gram / jnp.where(size > 0, size, 1.0))
        w = jnp.matmul(root.matrix, share, precision="highest")
        return jnp.sqrt(_target(scale, root)) * w

    return preferred(weights, preference)


def _target(scale, root):
    """σ over the kept eigenvalues, which are the last ones; 1 where there is none."""
    values, kept = root.eigenvalues, root.kept
    rank = jnp.sum(kept)
    first = values.shape[0] - rank
    if scale == "rmse":
        found = jnp.sum(jnp.where(kept, values, 0.0)) / jnp.maximum(rank, 1)
    else:
        at = first if scale == "min" else first + (rank - 1) // 2
        found = values[jnp.clip(at, 0, values.shape[0] - 1)]
    return jnp.where(rank > 0, found, 1.0)
