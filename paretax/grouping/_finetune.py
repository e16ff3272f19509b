"""Training on once the groups are settled."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from paretax._jacobian import value_and_jacobian
from paretax._weighting import Weighting
from paretax.grouping._combine_groups import combine_groups
from paretax.grouping._model import Grouped
from paretax.grouping._params import PrunedParams

__all__ = ["Finetuner", "finetune"]


class Finetuner(NamedTuple):
    """Two pure functions.

    Attributes:
      init: `init(pruned) -> state`, a pair: the combiner's and the optimizer's.
      update: `update(pruned, state, group, x, targets, *, labeled=None) -> (pruned,
        state, f)`: one step, and the losses before it, shape [N].
    """

    init: Callable[[PrunedParams], Any]
    update: Callable[..., tuple[PrunedParams, Any, Float[Array, " n"]]]


def finetune(
    model: Grouped,
    tx: optax.GradientTransformation,
    *,
    freeze_shared: bool = True,
    combiner: Weighting | None = None,
) -> Finetuner:
    """Steps on the sum of the losses of a pruned model, each task on its own group.

    Args:
      model: from `grouped`.
      tx: an optax transformation of trunks and heads, and of the backbone if that
        moves. With one that acts number by number, such as Adam, and a frozen backbone,
        this is each group trained by itself: no group's gradient enters another's step.
        `optax.clip_by_global_norm` would tie them together.
      freeze_shared: keep the backbone as it is.
      combiner: what combines the gradients of a group's tasks in their trunk, as
        `combine_groups`; None for their sum. The rest has the sum either way.

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

    Cost: G trunks and N heads, forward and backward; with a combiner N backward passes
    through the trunks more.

    Reference: the code of Gao et al., "DMTG: One-Shot Differentiable Multi-Task
    Grouping", ICML 2024, arXiv:2407.05082, holds parts of such a stage, with the
    backbone frozen; the script that would run it is not public, nor its settings.
    """

    def moving(pruned):
        return pruned._replace(shared=()) if freeze_shared else pruned

    def init(pruned):
        own = None if combiner is None else _inside(combiner, pruned).init(())
        return own, tx.init(moving(pruned))

    def update(pruned, state, group, x, targets, *, labeled=None):
        def losses(params):
            whole = params._replace(shared=pruned.shared) if freeze_shared else params
            return model.pruned_losses(whole, group, x, targets, labeled=labeled)

        def total(params):
            f = losses(params)
            return f.sum(), f

        (own, outer), params = state, moving(pruned)
        gradient, f = jax.grad(total, has_aux=True)(params)
        if combiner is not None:
            on_trunks = lambda trunks: losses(params._replace(trunks=trunks))
            rows = value_and_jacobian(on_trunks)(params.trunks)[1]
            tx_inside = _inside(combiner, pruned)
            trunks, own = tx_inside.update(
                rows, own, **_settled(rows, group, f, labeled)
            )
            gradient = gradient._replace(trunks=trunks)
        updates, outer = tx.update(gradient, outer, params)
        tuned: Any = optax.apply_updates(params, updates)
        tuned = tuned._replace(shared=pruned.shared) if freeze_shared else tuned
        return tuned, (own, outer), f

    return Finetuner(init, update)


def _inside(combiner, pruned):
    sizes = (len(jax.tree.leaves(part)[0]) for part in (pruned.trunks, pruned.heads))
    return combine_groups(combiner, *sizes)


def _settled(rows, group, f, labeled):
    """What `combine_groups` is told of groups that are settled."""
    g = jax.tree.leaves(rows)[0].shape[1]
    inside = jnp.asarray(group)[:, None] == jnp.arange(g)
    active = inside if labeled is None else inside & labeled.any(axis=1)[:, None]
    losses = jnp.broadcast_to(f, (g, *f.shape))
    return {"assignment": inside.astype(f.dtype), "active": active, "losses": losses}
