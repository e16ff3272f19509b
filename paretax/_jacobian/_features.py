"""The Gramian at the features that tasks share, instead of at the parameters."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from paretax._jacobian._value_and_gramian import value_and_gramian
from paretax._types import Gradient, Weights

__all__ = ["feature_gramian"]


def feature_gramian(
    trunk: Callable,
    heads: Callable,
    *,
    weight_heads: bool = False,
    precise: bool = False,
    has_aux: bool = False,
) -> Callable:
    """Losses, the Gramian of their gradients in the shared features, and the way back.

    For features z = trunk(θ, ...) and losses f = heads(θ, z, ...), Kᵢⱼ = ⟨∂fᵢ/∂z,
    ∂fⱼ/∂z⟩: the trunk goes backward once, not m times. Its min-norm weights are
    MGDA-UB, an upper bound of the problem in the parameters; other weightings on it are
    what the literature calls feature- or representation-level. They are not the weights
    of K in the parameters.

    Args:
      trunk: `trunk(params, *args) -> features`, a pytree of floating arrays.
      heads: `heads(params, features, *args) -> losses` of shape [m], or `(losses,
        aux)`.
      weight_heads: what the parameters get through the heads directly: the sum over
        tasks (False) or the sum weighted by w (True).
      precise: form K in float64, as for `value_and_gramian`.
      has_aux: whether `heads` returns a pair.

    Returns:
      `(params, *args) -> (losses, K, pullback)`. `pullback(w)` is ∂z/∂θᵀ Σ wᵢ ∂fᵢ/∂z,
      and through the heads the sum or the weighted sum, in the structure of `params`.
      The keyword `active`, a bool array [m], leaves tasks out, as for
      `value_and_gramian`.

    Raises:
      ValueError: `heads` does not return one array of shape [m]; `active` is not a bool
        array [m].

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> engine = px.feature_gramian(
      ...     lambda p, x: x @ p["w"],
      ...     lambda p, z, x: jnp.stack([jnp.sum(z), jnp.sum(z * p["v"])]))
      >>> losses, gram, pullback = engine(
      ...     {"v": jnp.array([1.0, -1.0]), "w": jnp.eye(2)}, jnp.array([2.0, 1.0]))
      >>> gram.tolist()
      [[2.0, 0.0], [0.0, 2.0]]
      >>> pullback(jnp.array([1.0, 1.0]))["w"].tolist()
      [[4.0, 0.0], [2.0, 0.0]]

    Cost: one forward pass, one backward pass of every head and one of the trunk, for
    `pullback`; m × the features' memory.

    Reference: Sener & Koltun, "Multi-Task Learning as Multi-Objective Optimization",
    NeurIPS 2018, arXiv:1810.04650 (MGDA-UB). Departure: any weighting may
    read K, and the features may be a pytree.
    """

    def of_both(both, *args):
        return heads(*both, *args)

    engine = value_and_gramian(
        of_both,
        shared=(False, True),
        weight_heads=weight_heads,
        precise=precise,
        has_aux=has_aux,
    )

    def wrapped(params, *args, active=None):
        features, pull_trunk = jax.vjp(lambda p: trunk(p, *args), params)
        out, gram, back = engine((params, features), *args, active=active)
        return out, gram, jax.tree_util.Partial(_through_trunk, pull_trunk, back)

    return wrapped


def _through_trunk(pull_trunk, back, weights: Weights) -> Gradient:
    direct, of_features = back(weights)
    (through,) = pull_trunk(of_features)
    return jax.tree.map(jnp.add, through, direct)
