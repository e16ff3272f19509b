"""Training on once the groups are settled."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from jaxtyping import Array, Float

from paretax.grouping._model import Grouped
from paretax.grouping._params import PrunedParams

__all__ = ["Finetuner", "finetune"]


class Finetuner(NamedTuple):
    """Two pure functions.

    Attributes:
      init: `init(pruned) -> state`, the optimizer's.
      update: `update(pruned, state, group, x, targets, *, labeled=None) -> (pruned,
        state, f)`: one step, and the losses before it, shape [N].
    """

    init: Callable[[PrunedParams], Any]
    update: Callable[..., tuple[PrunedParams, Any, Float[Array, " n"]]]


def finetune(
    model: Grouped, tx: optax.GradientTransformation, *, freeze_shared: bool = True
) -> Finetuner:
    """Steps on the sum of the losses of a pruned model, each task on its own group.

    Args:
      model: from `grouped`.
      tx: an optax transformation of trunks and heads, and of the backbone if that
        moves. With one that acts number by number, such as Adam, and a frozen backbone,
        this is each group trained by itself: no group's gradient enters another's step.
        `optax.clip_by_global_norm` would tie them together.
      freeze_shared: keep the backbone as it is.

    Returns:
      A `Finetuner`, for what `prune` returns.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> from paretax import grouping
      >>> model = grouping.grouped(
      ...     lambda w, x: x * w, lambda v, h: h * v, lambda y, t: (y - t) ** 2)
      >>> pruned = grouping.PrunedParams((), jnp.array([1.0]), jnp.array([1.0, 2.0]))
      >>> tuner = grouping.finetune(model, optax.sgd(0.1))
      >>> x, targets = jnp.ones(2), jnp.full((2, 2), 1.5)
      >>> tuned, _, f = tuner.update(
      ...     pruned, tuner.init(pruned), jnp.array([0, 0]), x, targets)
      >>> f.tolist(), [round(v, 2) for v in tuned.heads.tolist()]
      ([0.25, 0.25], [1.1, 1.9])

    Cost: G trunks and N heads, forward and backward.

    Reference: the code of Gao et al., "DMTG: One-Shot Differentiable Multi-Task
    Grouping", ICML 2024, arXiv:2407.05082, holds parts of such a stage, with the
    backbone frozen; the script that would run it is not public, nor its settings.
    """

    def moving(pruned):
        return pruned._replace(shared=()) if freeze_shared else pruned

    def update(pruned, state, group, x, targets, *, labeled=None):
        def whole(params):
            return params._replace(shared=pruned.shared) if freeze_shared else params

        def total(params):
            f = model.pruned_losses(whole(params), group, x, targets, labeled=labeled)
            return f.sum(), f

        params = moving(pruned)
        gradient, f = jax.grad(total, has_aux=True)(params)
        updates, state = tx.update(gradient, state, params)
        tuned: Any = optax.apply_updates(params, updates)
        return whole(tuned), state, f

    return Finetuner(lambda pruned: tx.init(moving(pruned)), update)
