"""Every member ascends the hypervolume of its front."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from paretax._checks import check_count, is_concrete
from paretax._types import Losses
from paretax._weighting import as_default_float
from paretax.ensembles._joint import JointState, JointWeighting, joint_state
from paretax.metrics import hypervolume, pareto_mask

__all__ = ["hypervolume_gradient"]


def hypervolume_gradient(
    reference: Losses | ArrayLike, *, normalize: bool = True
) -> JointWeighting:
    """The weights −∂HV/∂f of each member, front by front.

    The members that no other dominates are the first front; without them, those that
    none of the rest dominates are the second, and so on. The weights of member k are
    −∂HV(F)/∂f_k, F being the losses of its front, so a dominated member moves too. The
    reference point of HV is max(r, max_k f_k + 0.1 |max_k f_k|) in each task.

    Args:
      reference: r, shape [m], in units of the losses.
      normalize: divide the weights of each member by their Euclidean norm.

    Returns:
      A `JointWeighting` on the losses alone; weights [k, m], non-negative. Members with
      equal losses get equal weights. `converged` is True and `error` 0 for every
      member whose losses are finite.

    Raises:
      ValueError: r is not a finite vector; at `init`, m is not its length.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import ensembles
      >>> method = ensembles.hypervolume_gradient([4.0, 4.0], normalize=False)
      >>> losses = jnp.array([[1.0, 2.0], [2.0, 1.0], [3.0, 3.0]])
      >>> weights, _ = method.update(None, method.init(3, 2), losses=losses,
      ...                            finite=jnp.ones(3, bool))
      >>> weights.tolist()
      [[2.0, 1.0], [1.0, 2.0], [1.0, 1.0]]

    Cost: a hypervolume and its derivative for each front, at most k of them; k²m
    comparisons each. Above three tasks a hypervolume takes of the order of m kᵐ⁻¹
    operations (see `metrics.hypervolume`): four tasks with dozens of members, five with
    ten. One backward pass a member, if the caller takes it so.

    Reference: Deist, Grewal, Dankers, Alderliesten & Bosman, "Multi-Objective Learning
    to Predict Pareto Fronts Using Hypervolume Maximization", 2021, arXiv:2102.04523,
    and its public code, after Wang et al., "Hypervolume Indicator Gradient Ascent
    Multi-objective Optimization", EMO 2017. Departures: members that share one
    coordinate get a one-sided derivative, where the code gives 0; the reference moves
    beyond the largest loss also where that is negative, where the code takes 1.1 times
    it.
    """
    r = jnp.asarray(reference, float)
    if r.ndim != 1 or (is_concrete(r) and not bool(jnp.all(jnp.isfinite(r)))):
        raise ValueError(
            f"reference: expected a finite vector of shape [m], got {reference!r}."
        )

    def init(num_members, num_tasks):
        k, m = check_count("num_members", num_members), r.size
        if num_tasks != m:
            raise ValueError(
                f"reference: expected shape ({num_tasks},), got {r.shape}."
            )
        return joint_state((k, m))

    def update(grams, state, *, losses, finite):
        del grams, state
        weights = _by_fronts(losses, as_default_float(r), finite)
        if normalize:
            norm = jnp.sqrt(jnp.sum(weights**2, axis=1, keepdims=True))
            weights = weights / jnp.where(norm > 0, norm, 1.0)
        weights = jnp.where(finite[:, None], weights, jnp.nan)
        error = jnp.where(finite, jnp.zeros_like(losses[:, 0]), jnp.inf)
        return weights, JointState(weights, finite, error)

    return JointWeighting(init, update, needs_gram=False)


class _Carry(NamedTuple):
    weights: Float[Array, "k m"]
    left: Bool[Array, " k"]


def _by_fronts(losses, reference, finite):
    there = finite[:, None]
    worst = jnp.max(jnp.where(there, losses, -jnp.inf), axis=0)
    worst = jnp.where(jnp.any(finite), worst, reference)
    point = jnp.maximum(reference, worst + 0.1 * jnp.abs(worst))
    y = jnp.where(there, losses, point)
    # Copies of one point share its derivative, so only the first of them is counted.
    first = jnp.argmax(jnp.all(y[:, None] == y[None], axis=-1), axis=1)
    original = first == jnp.arange(len(y))

    def front(carry):
        # A member that is gone stands at the reference: it dominates nobody there.
        mask = pareto_mask(jnp.where(carry.left[:, None], y, point)) & carry.left
        counted = (mask & original)[:, None]
        slope = jax.grad(lambda z: hypervolume(jnp.where(counted, z, point), point))(y)
        weights = jnp.where(mask[:, None], -slope[first], carry.weights)
        return _Carry(weights, carry.left & ~mask)

    start = _Carry(jnp.zeros_like(y), finite)
    return jax.lax.while_loop(lambda carry: jnp.any(carry.left), front, start).weights
