"""What a weighting is: the Gramian of the task gradients in, one weight a task out."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from paretax._checks import check_count, check_square
from paretax._types import Active, Gramian, Losses, Solution, Weights

__all__ = [
    "Weighting",
    "WeightingState",
    "always",
    "check_num_tasks",
    "from_losses",
    "never",
    "stateless",
]


class InitFn(Protocol):
    def __call__(self, num_tasks: int, /) -> Any: ...


class UpdateFn(Protocol):
    def __call__(
        self,
        gram: Gramian | None,
        state: Any,
        *,
        losses: Losses | None = None,
        active: Active | None = None,
        **extra_args: Any,
    ) -> tuple[Weights, Any]: ...


def always(state: Any) -> bool:
    """The weighting reads the Gramian at every step."""
    del state
    return True


def never(state: Any) -> bool:
    """The weighting never reads the Gramian, so one backward pass is enough."""
    del state
    return False


class Weighting(NamedTuple):
    """A pair of pure functions, as in optax, on m tasks instead of on parameters.

    Attributes:
      init: `init(num_tasks) -> state`. Every state has the fields `weights` [m],
        `converged` and `error` (scalars), so `optax.tree.get(state, "weights")` finds
        them in any chain.
      update: `update(gram, state, *, losses=None, active=None, **extra_args) ->
        (weights, state)`. `gram` [m, m] may be None where `needs_gram(state)` is False;
        inactive tasks get the weight 0 and their memory is left as it is.
      needs_gram: `needs_gram(state)`: whether the next update reads the Gramian.

    Cost: as each factory states; no parameter is touched.
    """

    init: InitFn
    update: UpdateFn
    needs_gram: Callable[[Any], bool | Bool[Array, ""]] = always


class WeightingState(NamedTuple):
    """The last weights and their certificate.

    Attributes:
      weights: shape [m]; zeros before the first update.
      converged: whether the inner problem was solved to its tolerance.
      error: the inner problem's optimality residual, as its solver defines it.
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]


def check_num_tasks(num_tasks: object) -> int:
    """The m of `Weighting.init`; says what to write where parameters arrive instead."""
    if not isinstance(num_tasks, int):
        raise ValueError(
            "num_tasks: expected an integer, got a "
            f"{type(num_tasks).__name__}. A weighting is no optax transformation by "
            "itself: write px.combine(weighting, num_tasks=...) inside optax.chain."
        )
    return check_count("num_tasks", num_tasks)


def stateless(fun: Callable[..., Weights | Solution]) -> Weighting:
    """A weighting from a function of the Gramian alone.

    Args:
      fun: `fun(gram) -> weights` of shape [m], or a `Solution`, whose certificate is
        kept in the state. If it has to serve batches with missing tasks, it takes a
        second argument: `fun(gram, active)`, with `active` a bool array [m]; the rows
        and columns of inactive tasks reach it as zeros, and their weights are set to 0.

    Returns:
      A `Weighting` whose state is a `WeightingState`.

    Raises:
      ValueError: at update, a Gramian that is not m×m or is missing, or weights of
        another shape than [m].

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> inverse_norm = px.stateless(lambda gram: 1 / jnp.sqrt(jnp.diag(gram)))
      >>> weights, _ = inverse_norm.update(jnp.diag(jnp.array([4.0, 16.0])),
      ...                                  inverse_norm.init(2))
      >>> weights.tolist()
      [0.5, 0.25]

    Cost: that of `fun`.
    """

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del losses, extra_args
        gram = read_gram(gram, state.weights.shape[0], active)
        answer = fun(gram) if active is None else fun(gram, active)
        weights, new_state = certify(answer, state, active)
        return weights, new_state

    return Weighting(init_state, update)


def from_losses(scalarization: Callable) -> Weighting:
    """The weighting w = ∂s/∂f of a scalarization s: no Gramian, one backward pass.

    Args:
      scalarization: losses [m] to a scalar, as in `paretax.scalarizations`. To serve
        batches with missing tasks it takes the keyword `active`.

    Returns:
      A `Weighting` with `needs_gram` False, so `combine(from_losses(s), m)` gives the
      gradient of s(f(θ)).

    Raises:
      ValueError: at update, `losses` is missing or not of shape [m].

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> worst = px.from_losses(px.scalarizations.tchebycheff([0.5, 0.5]))
      >>> weights, _ = worst.update(None, worst.init(2), losses=jnp.array([3.0, 1.0]))
      >>> weights.tolist()
      [0.5, 0.0]

    Cost: one derivative of a function of m numbers.
    """

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del gram, extra_args
        losses = require_losses(losses, state.weights.shape[0])
        if active is None:
            weights = jax.grad(scalarization)(losses)
        else:
            masked = jnp.where(active, losses, 0.0)
            weights = jax.grad(lambda f: scalarization(f, active=active))(masked)
        return certify(weights, state, active)

    return Weighting(init_state, update, never)


def init_state(num_tasks: int) -> WeightingState:
    """No weights yet, nothing solved, no error known."""
    m = check_num_tasks(num_tasks)
    return WeightingState(
        weights=jnp.zeros(m, float),
        converged=jnp.zeros((), bool),
        error=jnp.full((), jnp.inf, float),
    )


def certify(
    answer: Weights | Solution, state: Any, active: Active | None
) -> tuple[Weights, WeightingState]:
    """Weights and what every state shows of them, in the types that `state` has.

    An answer without certificate is exact. The state may hold more than that.
    """
    m = state.weights.shape[0]
    if isinstance(answer, Solution):
        weights, converged, error = answer.value, answer.converged, answer.error
    else:
        weights = jnp.asarray(answer)
        converged, error = jnp.all(jnp.isfinite(weights)), jnp.zeros(())
    if jnp.shape(weights) != (m,):
        raise ValueError(
            f"weights: expected shape ({m},) from the weighting, got "
            f"{jnp.shape(weights)}."
        )
    if active is not None:
        weights = jnp.where(active, weights, 0.0)
    old = WeightingState(state.weights, state.converged, state.error)
    new = jax.tree.map(as_before, WeightingState(weights, converged, error), old)
    return jnp.asarray(weights), new


def check_gram(gram: Gramian | None, num_tasks: int) -> None:
    """A Gramian is there, and m×m."""
    if gram is None:
        raise ValueError(
            "gram: expected the Gramian of the task gradients, got None; this "
            "weighting needs one (needs_gram is True)."
        )
    check_square(gram, num_tasks)


def read_gram(gram: Gramian | None, num_tasks: int, active: Active | None) -> Gramian:
    """The Gramian, checked, in the default float type, zero where tasks are missing."""
    check_gram(gram, num_tasks)
    gram = as_default_float(gram)
    if active is None:
        return gram
    return jnp.where(active[:, None] & active[None, :], gram, 0.0)


def require_losses(losses: Losses | None, num_tasks: int) -> Losses:
    """The losses, or an error that says how to pass them."""
    if losses is None:
        raise ValueError(
            "losses: this weighting needs the current losses, got None; pass them as "
            "tx.update(jac, state, params, losses=losses)."
        )
    if jnp.shape(losses) != (num_tasks,):
        raise ValueError(
            f"losses: expected shape ({num_tasks},), got {jnp.shape(losses)}."
        )
    return as_default_float(losses)


def as_default_float(value):
    """In the default float type: float32, or float64 in an x64 scope."""
    return jnp.asarray(value, dtype=jnp.result_type(float))


def as_before(new, old):
    """A leaf of a state in the type that it had."""
    if jnp.issubdtype(jnp.result_type(old), jax.dtypes.prng_key):
        return new
    return jnp.asarray(new, old.dtype)
