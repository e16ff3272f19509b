"""Which heads have been improbable for so long that they can go."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from paretax._checks import check_count, check_fraction
from paretax.grouping._assignment import check_logits

__all__ = ["KeepState", "Keeper", "keep_heads"]


class KeepState(NamedTuple):
    """What `keep_heads` remembers.

    Attributes:
      keep: bool, shape [N, K]: heads that are still computed.
      low: steps in a row that a head has been below the threshold, shape [N, K].
    """

    keep: Bool[Array, "n k"]
    low: Int[Array, "n k"]


class Keeper(NamedTuple):
    """Two pure functions.

    Attributes:
      init: `init(logits) -> KeepState`, with all heads.
      update: `update(logits, state) -> KeepState`, once a step.
    """

    init: Callable[[Array], KeepState]
    update: Callable[[Array, KeepState], KeepState]


def keep_heads(*, threshold: float, patience: int) -> Keeper:
    """Head (i, k) goes once p_ik < threshold for `patience` steps in a row.

    p is the softmax of the logits over the heads that task i still has. A head that has
    gone does not come back, and the most probable head of a task never goes.

    Args:
      threshold: in [0, 1], a probability; 0 keeps all.
      patience: at least 1, in steps.

    Returns:
      A `Keeper`. While a compiled phase runs, `state.keep` only says what could go;
      between phases `pack(state.keep)` and `repack` take it out.

    Raises:
      ValueError: a number out of its range.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import grouping
      >>> keeper = grouping.keep_heads(threshold=0.1, patience=2)
      >>> logits = jnp.array([[0.0, 5.0], [0.0, 0.0]])
      >>> state = keeper.update(logits, keeper.init(logits))
      >>> keeper.update(logits, state).keep.tolist()
      [[False, True], [True, True]]

    Cost: N·K exponentials a step.

    Reference: this library's own. Gao et al., "DMTG: One-Shot Differentiable Multi-Task
    Grouping", ICML 2024, arXiv:2407.05082, speak of gradual pruning; their code
    computes all K·N heads to the end and deletes afterwards.
    """
    check_fraction("threshold", threshold)
    limit = check_count("patience", patience)

    def init(logits):
        shape = check_logits(logits).shape
        return KeepState(jnp.ones(shape, bool), jnp.zeros(shape, jnp.int32))

    def update(logits, state):
        seen = jnp.where(state.keep, check_logits(logits), -jnp.inf)
        p = jax.nn.softmax(seen, axis=-1)
        low = jnp.where(p < threshold, jnp.minimum(state.low + 1, limit), 0)
        best = jnp.argmax(seen, axis=-1)[:, None] == jnp.arange(p.shape[1])
        return KeepState(state.keep & ((low < limit) | best), low.astype(jnp.int32))

    return Keeper(init, update)


def masked(logits: Float[Array, "n k"], keep) -> Float[Array, "n k"]:
    """Logits of −∞ where a head has gone."""
    return logits if keep is None else jnp.where(keep, logits, -jnp.inf)
