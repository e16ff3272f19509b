"""Any weighting, of tasks brought to one scale."""

import jax.numpy as jnp

from paretax._weighting import (
    Weighting,
    always,
    as_default_float,
    check_gram,
    require_losses,
)
from paretax.solvers import condition
from paretax.weightings._wrapped import check_inner, rescaled

__all__ = ["normalize", "normalizers"]


def normalize(
    weighting: Weighting, *, norm: bool = True, loss: bool = False
) -> Weighting:
    """The weighting, of gradients divided by their norm, by their loss, or by both.

    The weighting sees gᵢ/nᵢ, with nᵢ = ‖gᵢ‖ (`norm`), Lᵢ (`loss`) or Lᵢ‖gᵢ‖ (both), nᵢ
    held constant: it is given K/(n nᵀ), with `norm` alone the matrix of cosines, and
    the losses Lᵢ/nᵢ; its weights w become w/n. The direction is Σᵢ wᵢ gᵢ/nᵢ, a
    combination of the normalized gradients. gᵢ/Lᵢ is the gradient of log Lᵢ.

    Args:
      weighting: what is wrapped.
      norm: divide by the norms of the gradients.
      loss: divide by the losses, which then must be positive and be given.

    Returns:
      A weighting with the wrapped one's certificate. Where one of the two is chosen,
      rescaling a task's loss leaves the direction as it was, whatever the wrapped
      weighting; with both it does not, for the loss is divided by twice. A
      direction that harms no task does so still. A task whose gradient is zero keeps
      its zero gradient. An active loss that is not positive ends in NaN.

    Raises:
      ValueError: `weighting` is no weighting; neither `norm` nor `loss`; at update, the
        Gramian or the losses are missing where they are needed.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> weighting = px.normalize(px.uniform())
      >>> weights, _ = weighting.update(jnp.diag(jnp.array([4.0, 1.0])),
      ...                               weighting.init(2))
      >>> weights.tolist()
      [0.25, 0.5]

    Cost: that of `weighting`, and 2m² multiplications; with `norm`, m backward passes
    a step. With `loss` alone the Gramian is read where `weighting` reads it.

    Reference: the options "l2", "loss" and "loss+" of Sener & Koltun's code for
    "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018,
    arXiv:1810.04650, for any weighting; as in LibMTL, Lin & Zhang, JMLR 2023, the
    direction is made of the normalized gradients. Departure: Sener & Koltun's code and
    Navon et al.'s apply the weights to the gradients as they were; that is
    `mgda(norm=..., loss=...)`.
    """
    check_inner(weighting, "px.normalize(px.mgda())")
    if not (norm or loss):
        raise ValueError("norm, loss: expected at least one of them to be True.")

    def scales(gram, losses, active, m):
        return normalizers(gram, losses, active, m, norm=norm, loss=loss)

    return rescaled(weighting, scales, always if norm else None)


def normalizers(gram, losses, active, num_tasks, *, norm, loss):
    """1/nᵢ, shape [m]: 1 where inactive or without a gradient, NaN where Lᵢ ≤ 0."""
    scale = jnp.ones(num_tasks, float)
    if norm:
        check_gram(gram, num_tasks)
        scale = condition(as_default_float(gram), active=active).scale
    if loss:
        losses = require_losses(losses, num_tasks)
        known = losses > 0
        inverse = jnp.where(known, 1 / jnp.where(known, losses, 1.0), jnp.nan)
        if active is not None:
            inverse = jnp.where(active, inverse, 1.0)
        scale = scale * inverse
    return scale
