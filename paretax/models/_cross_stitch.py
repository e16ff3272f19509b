"""A network a task, with features exchanged between stages."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from paretax._checks import check_fraction
from paretax.models._hard_sharing import Make, make_heads

__all__ = ["CrossStitch"]


class CrossStitch(nnx.Module):
    """xₖ ← Σⱼ αₖⱼ stageⱼ(xⱼ), stage by stage; then heads: cross-stitch networks.

    Every task has its own stages; a trained m×m matrix α after each of them says how
    the tasks' features are mixed.

    Args:
      stages: one factory a stage, `stage(rngs)`; each is made once for every task.
      heads: one factory a task, `head(rngs)`.
      own: αₖₖ at first, in [0, 1]; the others share 1 − own equally. 1 starts from
        separate networks.
      rngs: for the initial numbers.

    Raises:
      ValueError: no heads, no stages, `own` out of its range.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from paretax import models
      >>> net = models.CrossStitch(
      ...     [lambda rngs: nnx.Linear(6, 5, rngs=rngs), lambda rngs: jnp.tanh],
      ...     [lambda rngs: nnx.Linear(5, 1, rngs=rngs)] * 2, rngs=nnx.Rngs(0))
      >>> [y.shape for y in net(jnp.ones((3, 6)))]
      [(3, 1), (3, 1)]
      >>> net.units[0][...].round(1).tolist()
      [[0.9..., 0.1...], [0.1..., 0.9...]]

    Cost: m networks, and m² products of the features' size a stage.

    Reference: Misra, Shrivastava, Gupta & Hebert, "Cross-Stitch Networks for Multi-task
    Learning", CVPR 2016, arXiv:1604.03539. Departures: one matrix a stage, where the
    paper has one a channel, started alike; two tasks there, any number here. LibMTL
    starts all α at 1, without a unit after the last stage.
    """

    def __init__(
        self,
        stages: Sequence[Make],
        heads: Sequence[Make],
        *,
        own: float = 0.9,
        rngs: nnx.Rngs,
    ):
        if not stages:
            raise ValueError("stages: expected at least one factory, got none.")
        self.heads = make_heads(heads, rngs)
        m = len(heads)
        check_fraction("own", own)
        own = own if m > 1 else 1.0
        other = (1 - own) / max(m - 1, 1)
        start = jnp.where(jnp.eye(m, dtype=bool), own, other)
        self.stages = nnx.List(
            [nnx.List([stage(rngs) for _ in range(m)]) for stage in stages]
        )
        self.units = nnx.List([nnx.Param(start) for _ in stages])

    def __call__(self, x: Float[Array, "n ..."]) -> tuple[Array, ...]:
        """The outputs of the m heads, of the shapes that they have."""
        features = [x] * len(self.heads)
        for stages, unit in zip(self.stages, self.units, strict=True):
            pairs = zip(stages, features, strict=True)
            stacked = jnp.stack([stage(own) for stage, own in pairs])
            features = list(jnp.tensordot(unit[...], stacked, 1))
        return tuple(head(y) for head, y in zip(self.heads, features, strict=True))
