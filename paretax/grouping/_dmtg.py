"""Groups and weights in one run: losses under a relaxed assignment."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from paretax._checks import check_count, check_positive
from paretax.grouping._assignment import assignment
from paretax.grouping._keep import masked
from paretax.grouping._model import Grouped, label_shares
from paretax.grouping._packing import kept

__all__ = ["Assigned", "check_finite_losses", "dmtg"]


class Assigned(NamedTuple):
    """What a step saw.

    Attributes:
      losses: L, shape [N, K], each task on each trunk; 0 for heads that are gone.
      assignment: z, shape [N, K], their weights, the mean over examples if each has its
        own.
    """

    losses: Float[Array, "n k"]
    assignment: Float[Array, "n k"]


def dmtg(
    model: Grouped,
    *,
    temperature: float | Callable[[Array], ArrayLike] = 4.0,
    hard: bool = False,
    per_example: bool = False,
    warm_up: int = 0,
) -> Callable[..., tuple[Float[Array, " n"], Assigned]]:
    """Task losses under a relaxed assignment: fᵢ = Σ_k z_ik L_ik.

    Their sum, minimized in weights and logits together on the same data, is DMTG.

    Args:
      model: from `grouped`.
      temperature: τ > 0, or a schedule: step to τ, as optax has them.
      hard: straight-through draws, see `assignment`.
      per_example: a draw for each example, in place of one for the batch.
      warm_up: steps at first in which z = 1: every head on every trunk learns, and the
        logits get no gradient.

    Returns:
      `(params, key, step, x, targets, *, labeled=None, packing=None) -> (f, Assigned)`:
      params a `GroupedParams`, key a typed key or None for no noise, step from 0, the
      rest as in `grouped`. f has shape [N], so that all that takes task losses applies:
      `f.sum()` for DMTG. A head that is packed away has z = 0. `combine_groups` puts
      any combiner into the groups.

    Raises:
      ValueError: τ ≤ 0, a negative `warm_up`; while tracing, as `grouped`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from paretax import grouping
      >>> model = grouping.grouped(
      ...     lambda w, x: x * w, lambda v, h: h * v, lambda y, t: (y - t) ** 2)
      >>> params = grouping.GroupedParams(
      ...     (), jnp.array([1.0, 2.0]), jnp.ones((2, 3)), jnp.zeros((3, 2)))
      >>> x, targets = jnp.array([1.0, 1.0]), jnp.array([[1.0, 1], [2, 2], [3, 0]])
      >>> fun = grouping.dmtg(model, temperature=1.0)
      >>> grad = jax.grad(lambda p: fun(p, None, 0, x, targets)[0].sum())(params)
      >>> grad.logits.tolist()
      [[-0.25, 0.25], [0.25, -0.25], [0.0, 0.0]]

    Cost: that of the model's losses.

    Reference: Gao et al., "DMTG: One-Shot Differentiable Multi-Task
    Grouping", ICML 2024, arXiv:2407.05082, from the authors' public formulas and code;
    the body of the paper was not at hand. The code has a constant τ (2.5 on CelebA, 4
    on Taskonomy), no hard draws, no warm-up, and one optimizer for all. Departures: its
    Taskonomy model scales gradients by 1/√K twice (once where 1/√N seems meant), which
    is left out; fine-tuning after pruning is `finetune`.
    """
    if not callable(temperature):
        check_positive("temperature", temperature)
    check_count("warm_up", warm_up, least=0)

    def tau(step):
        return jnp.asarray(temperature(step) if callable(temperature) else temperature)

    def draw(logits, key, step, size):
        if not per_example or key is None:
            return assignment(logits, key, tau(step), hard=hard)[None]
        keys = jax.random.split(key, size)
        each = jax.vmap(lambda one: assignment(logits, one, tau(step), hard=hard))
        return each(keys)

    def fun(params, key, step, x, targets, *, labeled=None, packing=None):
        keep = None if packing is None else kept(packing, params.logits.shape[0])
        rows = model.example_losses(
            params, x, targets, labeled=labeled, packing=packing
        )
        size = rows.shape[-1]
        z = draw(masked(params.logits, keep), key, step, size)
        if warm_up:
            ones = jnp.ones_like(z) if keep is None else keep.astype(z.dtype)
            z = jnp.where(step < warm_up, ones, z)
        there = jnp.ones((rows.shape[0], size), bool) if labeled is None else labeled
        share = label_shares(there)
        losses = jnp.sum(rows * share[:, None], axis=-1)
        if z.shape[0] == 1:
            f = jnp.sum(z[0] * losses, axis=-1)
        else:
            f = jnp.einsum("bnk,nkb,nb->n", z, rows, share)
        return f, Assigned(losses, jnp.mean(z, axis=0))

    return fun


def check_finite_losses(
    losses: Float[Array, "n ..."] | ArrayLike, names: Sequence[Any] | None = None
) -> None:
    """Names the tasks whose losses are NaN or infinite: on the host, after a step.

    A compiled step raises nothing, and NaN spreads from one task to all that share its
    trunks; the losses say where it began.

    Args:
      losses: shape [N, ...], as `Assigned.losses` at the first step that went wrong.
      names: of the tasks; their numbers by default.

    Raises:
      ValueError: a loss is not finite; the message has the tasks.

    Example:
      >>> from paretax import grouping
      >>> grouping.check_finite_losses([[1.0], [float("nan")]], ["age", "smile"])
      Traceback (most recent call last):
      ValueError: losses: expected finite numbers, got others for the tasks ['smile'].

    Cost: one copy of the losses to the host.
    """
    values = np.asarray(losses)
    values = values.reshape(values.shape[0], -1)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1)).tolist()
    if bad:
        which = bad if names is None else [names[i] for i in bad]
        raise ValueError(
            f"losses: expected finite numbers, got others for the tasks {which}."
        )
