"""Stacked task gradients of all members in, one gradient a member out."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from paretax._checks import check_count, is_concrete
from paretax._combine import combine, split_keys
from paretax._jacobian import contract, gramian, keep_rows
from paretax._jacobian import num_tasks as check_tasks
from paretax._weighting import Weighting, as_before, as_default_float
from paretax.ensembles._joint import JointWeighting
from paretax.ensembles._per_member import check_members
from paretax.ensembles._preferences import check_preferences

__all__ = ["combine_members"]


def combine_members(
    method: Weighting | JointWeighting | Callable[[Array], Weighting],
    num_members: int,
    num_tasks: int,
    *,
    preferences: Float[Array, "k m"] | ArrayLike | None = None,
    **options: Any,
) -> optax.GradientTransformationExtraArgs:
    """`paretax.combine` for k members at once: leaves [k, m, ...] in, [k, ...] out.

    What every method for a finite set of Pareto-optimal models runs under. Three kinds:

    * one weighting for all, as `px.mgda()`: the members differ by their starts;
    * `epo`, `pmgda` or any other function of a preference to a weighting, and
      `preferences`: member k has the weighting of row k;
    * `hypervolume_gradient` or `moo_svgd`: the weights depend on all members.

    Args:
      method: a `paretax.Weighting`, a function of a preference [m] to one, or a
        `JointWeighting`. The function is called with a tracer.
      num_members: k ≥ 1.
      num_tasks: m ≥ 1.
      preferences: shape [k, m], rows on the simplex, for a function and only for it.
      **options: `shared`, `weight_heads` and `precise`, as for `paretax.combine`; none
        for a `JointWeighting`, which weights all leaves.

    Returns:
      An optax transformation. Its `update(jac, state, params=None, *, losses=None,
      active=None, **extra_args)` takes the Jacobians of the members, leaves [k, m,
      ...], their losses [k, m] and masks `active` [k, m]; other keyword arguments have
      a leading axis of k. `optax.tree.get(state, "converged")` has shape [k]. Numbers
      of one member that are not finite reach no other member: its own gradient is not
      finite, and for `moo_svgd` it is as if it were not there.

    Raises:
      ValueError: `method` is of none of these kinds; a number below 1; `preferences`
        missing, superfluous, of another shape than [k, m] or not on the simplex; while
        tracing, a leaf without the axes k and m, losses of another shape, or losses
        missing.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import ensembles
      >>> tx = ensembles.combine_members(
      ...     ensembles.epo, 2, 2, preferences=[[0.5, 0.5], [0.2, 0.8]])
      >>> jac = jnp.stack([jnp.eye(2), jnp.eye(2)])
      >>> rows, state = tx.update(jac, tx.init(jnp.zeros((2, 2))),
      ...                         losses=jnp.array([[1.0, 3.0], [3.0, 0.5]]))
      >>> [[round(x, 3) for x in row] for row in rows.tolist()]
      [[0.0, 1.0], [1.0, 0.0]]

    Cost: k times that of `combine`, vectorized; for weights [k, k, m], k²m
    multiply-adds a parameter of one member.
    """
    k = check_count("num_members", num_members)
    m = check_count("num_tasks", num_tasks)
    if isinstance(method, JointWeighting):
        if preferences is not None or options:
            raise ValueError(
                "preferences, options: expected none for a JointWeighting, which has "
                f"its own, got {['preferences', *options]}."
            )
        return _jointly(method, k, m)
    if isinstance(method, Weighting) != (preferences is None) or not (
        isinstance(method, Weighting) or callable(method)
    ):
        raise ValueError(
            "method: expected a px.Weighting without preferences, a function of a "
            "preference to one with preferences=, or a JointWeighting, got "
            f"{type(method).__name__} with preferences={preferences!r}; call the "
            "factory, as in combine_members(px.mgda(), 8, 2)."
        )
    if preferences is None:
        return _separately(lambda _: method, jnp.zeros((k, m)), m, options)
    return _separately(method, _checked(method, preferences, k, m), m, options)


def _checked(method, preferences, k, m):
    if is_concrete(preferences):
        preferences = check_preferences(preferences)
        for row in np.asarray(preferences):
            method(row)
    preferences = jnp.asarray(preferences, float)
    if preferences.shape != (k, m):
        raise ValueError(
            f"preferences: expected shape ({k}, {m}), got {preferences.shape}."
        )
    return preferences


def _separately(method, preferences, m, options):
    """Members that know nothing of one another."""
    k = len(preferences)

    def start(preference):
        return combine(method(preference), m, **options).init(())

    def one(preference, jac, state, extra_args):
        return combine(method(preference), m, **options).update(
            jac, state, **extra_args
        )

    def init(params):
        del params
        return split_keys(jax.vmap(start)(preferences), k)

    def update(updates, state, params=None, **extra_args):
        del params
        given = {key: x for key, x in extra_args.items() if x is not None}
        check_members("updates", updates, k)
        check_members("extra_args", given, k)
        return jax.vmap(one)(preferences, updates, state, given)

    return optax.GradientTransformationExtraArgs(init, update)


def _jointly(method, k, m):
    """Members whose weights depend on all of them."""

    def init(params):
        del params
        return method.init(k, m)

    def update(updates, state, params=None, *, losses=None, active=None, **extra_args):
        del params, extra_args
        check_members("updates", updates, k)
        jax.vmap(lambda jac: check_tasks(jac, m))(updates)
        shape = None if losses is None else jnp.shape(losses)
        if shape != (k, m):
            raise ValueError(
                f"losses: expected shape ({k}, {m}), got {shape}; pass "
                "them as tx.update(jac, state, params, losses=losses)."
            )
        if active is not None:
            raise ValueError(
                "active: expected None, got a mask; the hypervolume and the distances "
                "of members need the losses of all tasks."
            )
        losses = as_default_float(losses)
        finite = jnp.all(jnp.isfinite(losses), axis=1)
        grams = None
        if method.needs_gram:
            grams = as_default_float(jax.vmap(gramian)(updates))
            finite = finite & jnp.all(jnp.isfinite(grams), axis=(1, 2))
        weights, new = method.update(grams, state, losses=losses, finite=finite)
        new = jax.tree.map(as_before, new, state)
        return _contracted(weights, updates, finite), new

    return optax.GradientTransformationExtraArgs(init, update)


def _contracted(weights, jac, finite):
    k, m = weights.shape[0], weights.shape[-1]
    if weights.ndim == 2:
        return jax.vmap(contract)(weights, jac)

    def one(leaf):
        rows = keep_rows(leaf, finite).reshape(k * m, *leaf.shape[2:])
        taken = jax.vmap(contract, (0, None))(weights.reshape(k, k * m), rows)
        return keep_rows(taken, finite, jnp.nan)

    return jax.tree.map(one, jac)
