"""Logic operators with losses on different scales, on a network too small to spare."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from paretax._checks import check_positive
from paretax._types import Losses

__all__ = ["LogicBatch", "LogicOperators", "first_converged", "logic_operators"]

_TRUTH = {"and": (0, 0, 0, 1), "or": (0, 1, 1, 1), "xor": (0, 1, 1, 0)}
_HIDDEN = 2


class LogicBatch(NamedTuple):
    """Rows of the truth tables.

    Attributes:
      inputs: shape [n, 2], of 0 and 1.
      targets: shape [n, m], truth values times each task's scale.
    """

    inputs: Float[Array, "n 2"]
    targets: Float[Array, "n m"]


class LogicOperators(NamedTuple):
    """A network's parameters and losses on truth tables.

    Attributes:
      data: all four rows.
      init: `init(key) -> params`: {"encoder": {"kernel" [2, 2], "bias" [2]}, "heads":
        {"kernel" [m, 2], "bias" [m]}}.
      losses: `losses(params, batch) -> f` of shape [m], mean squared errors.
      predictions: `predictions(params, inputs) -> y` of shape [n, m].
    """

    data: LogicBatch
    init: Callable[[Array], PyTree]
    losses: Callable[[PyTree, LogicBatch], Losses]
    predictions: Callable[[PyTree, Float[Array, "n 2"]], Float[Array, "n m"]]


def logic_operators(
    tasks: Sequence[str] = ("xor", "and"), scales: Sequence[float] = (10.0, 1.0)
) -> LogicOperators:
    """Learn logic operators together: two hidden units, one linear head a task.

    fₜ(θ) = mean over rows of (sₜ yₜ − aₜᵀ σ(Wx + b) − cₜ)², with yₜ ∈ {0, 1}. XOR,
    which needs both hidden units, is s² = 100 times louder than AND. The encoder (W, b)
    is shared, the heads (aₜ, cₜ) are not.

    Args:
      tasks: names among "xor", "and" and "or".
      scales: sₜ > 0, one a task.

    Returns:
      A `LogicOperators`.

    Raises:
      ValueError: an unknown name, no task, a scale that is missing or not positive.

    Example:
      >>> import jax
      >>> from paretax import problems
      >>> problem = problems.logic_operators()
      >>> problem.data.targets.T.tolist()
      [[0.0, 10.0, 10.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
      >>> problem.losses(problem.init(jax.random.key(0)), problem.data).shape
      (2,)

    Cost: a handful of multiply-adds.

    Reference: A. T. Mizuno Nakamura, V. Grassi Jr, D. F. Wolf, "Leveraging convergence
    behavior to balance conflicting tasks in multi-task learning", Neurocomputing 511
    (2022), arXiv:2204.06698. Follows the authors' public code: data, scales, layers,
    and initial values uniform in ±1/√(inputs of the layer).
    """
    unknown = [name for name in tasks if name not in _TRUTH]
    if unknown or not tasks:
        raise ValueError(
            f"tasks: expected names among {sorted(_TRUTH)}, got {list(tasks)}."
        )
    if len(scales) != len(tasks):
        raise ValueError(
            f"scales: expected one for each of {list(tasks)}, got {len(scales)}."
        )
    for scale in scales:
        check_positive("scales", scale)
    m = len(tasks)
    inputs = jnp.array([[0, 0], [0, 1], [1, 0], [1, 1]], float)
    truth = jnp.array([_TRUTH[name] for name in tasks], float)

    def init(key):
        keys = iter(jax.random.split(key, 4))

        def uniform(fan_in, *shape):
            bound = fan_in**-0.5
            return jax.random.uniform(next(keys), shape, float, -bound, bound)

        encoder = {"kernel": uniform(2, 2, _HIDDEN), "bias": uniform(2, _HIDDEN)}
        heads = {"kernel": uniform(_HIDDEN, m, _HIDDEN), "bias": uniform(_HIDDEN, m)}
        return {"encoder": encoder, "heads": heads}

    data = LogicBatch(inputs, jnp.array(scales, float) * truth.T)
    return LogicOperators(data, init, _losses, _predictions)


def _predictions(params, inputs):
    encoder, heads = params["encoder"], params["heads"]
    features = jax.nn.sigmoid(inputs @ encoder["kernel"] + encoder["bias"])
    return features @ heads["kernel"].T + heads["bias"]


def _losses(params, batch):
    error = _predictions(params, batch.inputs) - batch.targets
    return jnp.mean(error**2, axis=0)


def first_converged(
    losses: Float[Array, "epochs batches m"], batch_size: int, tol: float = 1e-3
) -> Int[Array, " m"]:
    """The first epoch in which each task counts as learned, or −1.

    Task t is learned when Σ_b f_{bt}/n < tol, where f_{bt} is its mean loss on
    mini-batch b before the step, and n = batches · batch_size · m, as the authors' code
    counts. What happens after the first such epoch does not matter.

    Args:
      losses: of every mini-batch, shape [epochs, batches, m].
      batch_size: examples in a mini-batch.
      tol: > 0, in units of the losses.

    Returns:
      Int, shape [m], epochs counted from 0.

    Raises:
      ValueError: `losses` is not of three axes, `tol` is not positive.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import problems
      >>> losses = jnp.array([[[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 1.0]]])
      >>> problems.first_converged(losses, batch_size=2).tolist()
      [1, 0]

    Cost: one pass over the losses.

    Reference: as `logic_operators`.
    """
    check_positive("tol", tol)
    if losses.ndim != 3:
        raise ValueError(
            f"losses: expected shape [epochs, batches, m], got {losses.shape}."
        )
    _, batches, m = losses.shape
    learned = jnp.sum(losses, axis=1) / (batches * batch_size * m) < tol
    return jnp.where(jnp.any(learned, axis=0), jnp.argmax(learned, axis=0), -1)
