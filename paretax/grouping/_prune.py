"""From open groups to one trunk and one head a task."""

import jax
import numpy as np
from jaxtyping import Array, Int

from paretax.grouping._assignment import groups
from paretax.grouping._keep import masked
from paretax.grouping._model import check_heads
from paretax.grouping._packing import Packing, kept, places_of
from paretax.grouping._params import GroupedParams, PrunedParams

__all__ = ["prune"]


def prune(
    params: GroupedParams, packing: Packing | None = None
) -> tuple[PrunedParams, Int[Array, " n"]]:
    """Only the trunks that have tasks, and one head a task: on the host, at the end.

    Args:
      params: trained, with all heads or packed ones.
      packing: how the heads lie in `params`; None for all of them.

    Returns:
      `(pruned, group)`: group has shape [N], integers from 0 to G − 1 in the order of
      the trunks that are left. `pruned_predict` of them is `predict` of `params`, up to
      rounding. `finetune` trains on from there.

    Raises:
      ValueError: heads of another shape than the packing says.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import grouping
      >>> params = grouping.GroupedParams(
      ...     (), jnp.array([5.0, 6.0, 7.0]), jnp.arange(6.0).reshape(3, 2),
      ...     jnp.array([[0.0, 0.0, 1.0], [0.0, 2.0, 1.0]]))
      >>> pruned, group = grouping.prune(params)
      >>> pruned.trunks.tolist(), pruned.heads.tolist(), group.tolist()
      ([6.0, 7.0], [4.0, 3.0], [1, 0])

    Cost: one copy of what is left. From K trunks and K·N heads to G ≤ min(K, N) trunks
    and N heads.

    Reference: the code of Gao et al., "DMTG: One-Shot Differentiable Multi-Task
    Grouping", ICML 2024, arXiv:2407.05082, evaluates these heads and deletes the
    others.
    """
    n, k = params.logits.shape
    check_heads(params.heads, k, n if packing is None else packing.tasks.shape[1])
    keep = None if packing is None else kept(packing, n)
    choice = np.asarray(groups(masked(params.logits, keep)))
    if packing is None:
        places = np.arange(n)
    else:
        ones = np.ones((n, 1), bool)
        rows = Packing(packing.tasks[choice], packing.valid[choice])
        places = places_of(np.arange(n)[:, None], ones, rows)[:, 0]
    used, group = np.unique(choice, return_inverse=True)
    pruned = PrunedParams(
        params.shared,
        jax.tree.map(lambda leaf: leaf[used], params.trunks),
        jax.tree.map(lambda leaf: leaf[choice, places], params.heads),
    )
    return pruned, jax.numpy.asarray(group.astype(np.int32))
