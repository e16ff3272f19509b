"""One learned number a task, stepped by an optimizer that lives in the state."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from paretax._types import Weights
from paretax._weighting import as_before, init_state

__all__ = ["LearnedState", "check_optimizer", "init_learned", "step_learned"]

_LEARNING_RATE = 0.025


class LearnedState(NamedTuple):
    """The state of weightings that learn one number a task.

    Attributes:
      weights: the last weights, shape [m].
      converged: whether they are finite and every active loss could be read.
      error: the number of active losses that could not.
      parameters: the learned numbers, shape [m].
      optimizer: the optimizer's state, one copy a task: every leaf is [m, ...]. Moments
        and counters of a task that is missing stay as they are.
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]
    parameters: Float[Array, " m"]
    optimizer: Any


def check_optimizer(
    optimizer: optax.GradientTransformation | None,
    learning_rate: float = _LEARNING_RATE,
) -> optax.GradientTransformation:
    """The optimizer, or Adam."""
    if optimizer is None:
        return optax.adam(learning_rate)
    if not isinstance(optimizer, optax.GradientTransformation):
        raise ValueError(
            "optimizer: expected an optax.GradientTransformation, got "
            f"{type(optimizer).__name__}; call its factory, as in optax.sgd(0.1)."
        )
    return optimizer


def init_learned(
    num_tasks: int, optimizer: optax.GradientTransformation, start: float = 0.0
) -> LearnedState:
    """Every learned number at `start`, and an optimizer's state for each."""
    first = init_state(num_tasks)
    parameters = jnp.full(num_tasks, start, float)
    copies = jax.vmap(optimizer.init)(parameters)
    # Some optimizers begin with weakly typed numbers, which no later step has.
    copies = jax.tree.map(lambda leaf: as_before(leaf, leaf), copies)
    return LearnedState(*first, parameters, copies)


def step_learned(
    optimizer: optax.GradientTransformation,
    gradients: Float[Array, " m"],
    state: Any,
    remember: Bool[Array, " m"],
) -> tuple[Float[Array, " m"], Any]:
    """The learned numbers and the optimizer's states after one step.

    Tasks outside `remember` keep both, whatever their entry of `gradients` holds.
    """
    gradients = jnp.where(remember, gradients, 0.0).astype(state.parameters.dtype)

    def one(gradient, parameter, memory, keep):
        change, new = optimizer.update(gradient, memory, parameter)
        stepped = optax.apply_updates(parameter, change), new
        return jax.tree.map(
            lambda new, old: jnp.where(keep, as_before(new, old), old),
            stepped,
            (parameter, memory),
        )

    return jax.vmap(one)(gradients, state.parameters, state.optimizer, remember)
