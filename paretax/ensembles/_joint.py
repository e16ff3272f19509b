"""Weights that depend on all members of an ensemble at once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

__all__ = ["JointState", "JointWeighting", "joint_state"]


class JointWeighting(NamedTuple):
    """A pair of pure functions, as `paretax.Weighting`, on k members of m tasks.

    Attributes:
      init: `init(num_members, num_tasks) -> state`, with the fields of `JointState`.
      update: `update(grams, state, *, losses, finite) -> (weights, state)`, with the
        members' Gramians [k, m, m] (None where `needs_gram` is False), their losses
        [k, m] and a bool array [k]: members whose numbers are finite. The weights have
        shape [k, m], or [k, k, m], where weights[k, j] is what member k takes of the
        gradients of member j. What a lost member takes is of no consequence.
      needs_gram: whether `update` reads the Gramians.

    Cost: as each factory states; no parameter is touched.
    """

    init: Callable[[int, int], Any]
    update: Callable[..., tuple[Array, Any]]
    needs_gram: bool = True


class JointState(NamedTuple):
    """The last weights of all members and their certificates.

    Attributes:
      weights: shape [k, m] or [k, k, m]; zeros before the first update.
      converged: bool, shape [k]: the member's inner problem was solved; False for a
        member whose numbers are not finite.
      error: shape [k]: the optimality residual of the inner problem, infinite for a
        member whose numbers are not finite.
    """

    weights: Float[Array, "k ..."]
    converged: Bool[Array, " k"]
    error: Float[Array, " k"]


def joint_state(shape: tuple[int, ...]) -> JointState:
    """No weights yet, nothing solved, no error known."""
    k = shape[0]
    return JointState(jnp.zeros(shape), jnp.zeros(k, bool), jnp.full(k, jnp.inf, float))
