"""What wrappers share: a state around a state, and tasks measured in other units."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from paretax._types import Solution, Weights
from paretax._weighting import Weighting, as_before, certify

__all__ = [
    "WrappedState",
    "check_inner",
    "pack",
    "rescaled",
    "unpack",
    "wrapped_init",
    "wrapped_update",
]


class WrappedState(NamedTuple):
    """The state of a wrapper without memory of its own.

    Attributes:
      weights: the last weights, shape [m], as the wrapper returned them.
      converged: the wrapped weighting's certificate.
      error: likewise.
      inner: the leaves of the wrapped weighting's state.
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]
    inner: tuple[Any, ...]


def pack(inner: Any) -> tuple[Any, ...]:
    """A state as its leaves, without names.

    `optax.tree.get(state, "weights")` then finds one field of that name, the wrapper's.
    """
    return tuple(jax.tree.leaves(inner))


def unpack(weighting: Weighting, state: Any) -> Any:
    """The wrapped weighting's state from its leaves."""
    m = state.weights.shape[0]
    shape = jax.eval_shape(lambda: weighting.init(m))
    return jax.tree.unflatten(jax.tree.structure(shape), state.inner)


def check_inner(weighting: object, example: str) -> None:
    """A weighting, not the factory that makes one."""
    if not isinstance(weighting, Weighting):
        raise ValueError(
            f"weighting: expected a px.Weighting, got {type(weighting).__name__}; call "
            f"its factory, as in {example}."
        )


def wrapped_init(weighting: Weighting) -> Callable[[int], WrappedState]:
    """`init` of a wrapper without memory of its own."""

    def init(num_tasks):
        inner = weighting.init(num_tasks)
        first = inner.weights, inner.converged, inner.error
        return WrappedState(*first, pack(inner))

    return init


def wrapped_update(weights, inner, state, active):
    """Weights and the next state, from what the wrapped weighting's update returned."""
    leaves = tuple(map(as_before, pack(inner), state.inner))
    steps = jnp.zeros((), jnp.int32)
    answer = Solution(weights, inner.converged, steps, inner.error)
    weights, shown = certify(answer, state, active)
    return weights, WrappedState(*shown, leaves)


def rescaled(
    weighting: Weighting,
    scales: Callable[..., Float[Array, " m"]],
    needs_gram: Callable[[Any], bool | Bool[Array, ""]] | None = None,
) -> Weighting:
    """The weighting that sees task i's loss multiplied by sᵢ, sᵢ held constant.

    With D = diag(s) it is given D K D and D f; its weights w become D w, so that the
    direction is that of the rescaled tasks. `losses_after` and `cross_gram` are
    rescaled too, other arguments pass as they are.

    Args:
      weighting: what is wrapped.
      scales: `scales(gram, losses, active, num_tasks) -> s`, shape [m].
      needs_gram: as for `Weighting`, of the wrapper's state; None is the wrapped
        weighting's.
    """

    def needs(state):
        return weighting.needs_gram(unpack(weighting, state))

    def update(gram, state, *, losses=None, active=None, **extra_args):
        s = scales(gram, losses, active, state.weights.shape[0])
        pairs = s[:, None], s[None, :]

        def vector(x):
            return None if x is None else s * x

        def matrix(x):
            return None if x is None else (pairs[0] * x) * pairs[1]

        for name, rule in (("losses_after", vector), ("cross_gram", matrix)):
            if name in extra_args:
                extra_args[name] = rule(extra_args[name])
        weights, inner = weighting.update(
            matrix(gram),
            unpack(weighting, state),
            losses=vector(losses),
            active=active,
            **extra_args,
        )
        return wrapped_update(s * weights, inner, state, active)

    return Weighting(wrapped_init(weighting), update, needs_gram or needs)
