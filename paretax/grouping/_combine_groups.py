"""A combiner inside each group: one gradient a trunk from those of its tasks."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from paretax._checks import check_count
from paretax._combine import split_keys
from paretax._jacobian import contract, gramian
from paretax._weighting import Weighting, as_before, as_default_float

__all__ = ["combine_groups"]


def combine_groups(
    method: Weighting, num_groups: int, num_tasks: int
) -> optax.GradientTransformationExtraArgs:
    """One gradient a trunk from those of all tasks in it: [N, K, ...] to [K, ...].

    Trunk k gets Σᵢ z_ik w_ik ∇L_ik: w are the weights of the method from the Gramian of
    the ∇L_ik, z is how far task i is in the group. So z does not reach the bargain,
    from which a method that forgets scales, such as Nash-MTL, would strike it out; with
    w = 1 the result is DMTG's own.

    Args:
      method: a `px.Weighting`. What it needs besides the Gramian comes from keyword
        arguments with a leading axis K.
      num_groups: K ≥ 1.
      num_tasks: N ≥ 1.

    Returns:
      An optax transformation. Its `update(rows, state, params=None, *, assignment,
      active=None, **extra_args)` takes ∇L_ik in leaves [N, K, ...], z in [N, K] and a
      bool array [N, K] of the tasks that count in a group; the others are left out,
      whatever their rows hold. A group that no task counts in gets the gradient 0.
      `optax.tree.get(state, "converged")` has shape [K].

    Raises:
      ValueError: no `px.Weighting`, a number below 1; while tracing, leaves without the
        axes N and K, or an assignment or mask of another shape.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> from paretax import grouping
      >>> tx = grouping.combine_groups(px.mgda(), 1, 2)
      >>> rows = jnp.array([[[2.0, 0.0]], [[0.0, 2.0]]])
      >>> out, _ = tx.update(rows, tx.init(()), assignment=jnp.ones((2, 1)))
      >>> [[round(x, 3) for x in row] for row in out.tolist()]
      [[1.0, 1.0]]

    Cost: N² products and N multiply-adds a parameter of every trunk, and the method's
    inner problem K times, vectorized.

    Reference: this library's own; groups as in Gao et al., "DMTG: One-Shot
    Differentiable Multi-Task Grouping", ICML 2024, arXiv:2407.05082, who take the sum.
    """
    if not isinstance(method, Weighting):
        raise ValueError(
            f"method: expected a px.Weighting, got {type(method).__name__}; call the "
            "factory, as in combine_groups(px.nash_mtl(), 3, 14)."
        )
    k = check_count("num_groups", num_groups)
    n = check_count("num_tasks", num_tasks)

    def init(params):
        del params
        copy = lambda leaf: jnp.stack([jnp.asarray(leaf)] * k)
        return split_keys(jax.tree.map(copy, method.init(n)), k)

    def one(rows, state, z, active, extra_args):
        gram = as_default_float(gramian(rows, active=active))
        w, new = method.update(gram, state, active=active, **extra_args)
        return contract(w * z, rows, active=active), jax.tree.map(as_before, new, state)

    def update(
        updates, state, params=None, *, assignment=None, active=None, **extra_args
    ):
        del params
        _check_rows(updates, n, k)
        z = _checked("assignment", assignment, n, k)
        if active is not None:
            active = _checked("active", active, n, k).T
        rows = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), updates)
        given = {key: x for key, x in extra_args.items() if x is not None}
        return jax.vmap(one)(rows, state, z.T, active, given)

    return optax.GradientTransformationExtraArgs(init, update)


def _check_rows(rows, n, k):
    for path, leaf in jax.tree_util.tree_flatten_with_path(rows)[0]:
        if np.shape(leaf)[:2] != (n, k):
            raise ValueError(
                f"updates{jax.tree_util.keystr(path)}: expected shape [{n}, {k}, ...], "
                f"got {np.shape(leaf)}."
            )


def _checked(name, value, n, k):
    if value is None or np.shape(value) != (n, k):
        found = None if value is None else np.shape(value)
        raise ValueError(f"{name}: expected shape ({n}, {k}), got {found}.")
    return jnp.asarray(value)
