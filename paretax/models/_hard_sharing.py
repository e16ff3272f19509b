"""One trunk for all tasks, and one head a task."""

from collections.abc import Callable, Sequence
from typing import Any

from flax import nnx
from jaxtyping import Array, Float

__all__ = ["HardSharing", "Make", "make_heads"]

Make = Callable[[nnx.Rngs], Any]


class HardSharing(nnx.Module):
    """yₖ = headₖ(trunk(x)): hard parameter sharing, with any trunk and heads.

    Args:
      trunk: `trunk(rngs)` makes the module of the shared features.
      heads: one factory a task, `head(rngs)`.
      rngs: for the initial numbers.

    Raises:
      ValueError: no heads.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> from paretax import models
      >>> def outputs(x):
      ...     net = models.HardSharing(
      ...         lambda rngs: models.ResNet(rngs=rngs),
      ...         [lambda rngs: nnx.Linear(512, 1, rngs=rngs)] * 40, rngs=nnx.Rngs(0))
      ...     return net(x)
      >>> shapes = jax.eval_shape(outputs, jnp.ones((5, 64, 64, 3)))
      >>> len(shapes), shapes[0].shape
      (40, (5, 1))

    Cost: the trunk once, each head once.

    Reference: Caruana, "Multitask Learning", Machine Learning 28, 1997.
    """

    def __init__(self, trunk: Make, heads: Sequence[Make], *, rngs: nnx.Rngs):
        self.trunk = trunk(rngs)
        self.heads = make_heads(heads, rngs)

    def __call__(self, x: Float[Array, "n ..."]) -> tuple[Array, ...]:
        """The outputs of the m heads, of the shapes that they have."""
        features = self.trunk(x)
        return tuple(head(features) for head in self.heads)


def make_heads(heads: Sequence[Make], rngs: nnx.Rngs) -> nnx.List:
    """The modules of all heads."""
    if not heads:
        raise ValueError("heads: expected one factory a task, got none.")
    return nnx.List([head(rngs) for head in heads])
