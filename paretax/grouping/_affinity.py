"""How much tasks help one another: from gradients, and from a step ahead."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from paretax._checks import check_count, check_positive, check_square
from paretax._jacobian import value_and_jacobian
from paretax._shared import Shared, chosen, replaced, shared_mask
from paretax._types import Gramian, Losses

__all__ = ["affinity_cosine", "affinity_lookahead"]


def affinity_cosine(gram: Gramian) -> Float[Array, "n n"]:
    """The cosines of the task gradients: A_ij = K_ij/√(K_ii K_jj).

    Args:
      gram: K, shape [N, N], of the shared parameters, as `px.value_and_gramian` with
        `shared=` gives it; average A over training.

    Returns:
      A, shape [N, N], symmetric, in [−1, 1] up to rounding, 1 on the diagonal. A task
      without a gradient has 0 everywhere. Unchanged if a loss is scaled.

    Raises:
      ValueError: a Gramian that is not square.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import grouping
      >>> grouping.affinity_cosine(jnp.array([[4.0, -1.0], [-1.0, 1.0]])).tolist()
      [[1.0, -0.5], [-0.5, 1.0]]

    Cost: N² operations.

    Reference: the baseline "CS" in the code of Fifty et al., "Efficiently Identifying
    Task Groupings for Multi-Task Learning", NeurIPS 2021, arXiv:2109.04617.
    """
    check_square(gram)
    gram = jnp.asarray(gram)
    length = jnp.sqrt(jnp.diagonal(gram))
    alive = length != 0
    inverse = jnp.where(alive, 1 / jnp.where(alive, length, 1.0), 0.0)
    return (gram * inverse[:, None]) * inverse


def affinity_lookahead(
    losses: Callable[..., Losses],
    *,
    step_size: float | Array,
    shared: Shared = None,
    batch_size: int | None = 1,
) -> Callable[..., tuple[Losses, Float[Array, "n n"]]]:
    """What a step for one task does to the losses of all: TAG's affinity.

    A_ij = 1 − L_j(θ − η∇L_i)/L_j(θ), where the step changes shared parameters only.

    Args:
      losses: `losses(params, *args) -> L`, shape [N], above 0.
      step_size: η > 0, the learning rate of the run.
      shared: which leaves take the step: None (all), a pytree of booleans, a prefix of
        one, or a predicate on the key path.
      batch_size: steps looked at together; None for all N, with N copies of the
        parameters.

    Returns:
      `(params, *args) -> (L, A)`, A of shape [N, N]: row i is the task that steps,
      column j the one that gains, positive where it does. The diagonal is what a task
      gains by itself. NaN where L_j = 0. Average A over training, and see
      `best_grouping` for the diagonal.

    Raises:
      ValueError: η ≤ 0, `batch_size` below 1; while tracing, losses that are not [N].

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import grouping
      >>> fun = grouping.affinity_lookahead(
      ...     lambda x: jnp.stack([(x - 1) ** 2, (x + 1) ** 2]), step_size=0.25)
      >>> [[round(a, 4) for a in row] for row in fun(jnp.array(0.0))[1].tolist()]
      [[0.75, -1.25], [-1.25, 0.75]]

    Cost: N backward and N + 1 forward passes.

    Reference: Fifty, Amid, Zhao, Yu, Anil & Finn, "Efficiently Identifying Task
    Groupings for Multi-Task Learning", NeurIPS 2021, arXiv:2109.04617. Departures from
    the public code: it divides by η, which changes no ranking at a constant rate, adds
    weight decay to the step, and looks ahead at one batch in ten.
    """
    check_positive("step_size", step_size)
    if batch_size is not None:
        check_count("batch_size", batch_size)

    def fun(params, *args, **kwargs):
        now, jac = value_and_jacobian(losses)(params, *args, **kwargs)
        mask = shared_mask(shared, params)
        rows, own = chosen(jac, mask), chosen(params, mask)

        def after(steps):
            pairs = zip(own, steps, strict=True)
            moved = [leaf - step_size * step for leaf, step in pairs]
            return losses(replaced(params, mask, moved), *args, **kwargs)

        if batch_size is None:
            then = jax.vmap(after)(rows)
        else:
            size = batch_size if batch_size > 1 else None
            then = jax.lax.map(after, rows, batch_size=size)
        return now, 1 - then / now

    return fun
