"""Attention of each task to the features of one shared convolutional trunk."""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from paretax.models._blocks import ConvNorm, normalization
from paretax.models._hard_sharing import Make, make_heads

__all__ = ["MTAN", "Attention"]


class MTAN(nnx.Module):
    """Multi-task attention network: masks of each task on a shared trunk.

    Stage j of the trunk makes uⱼ = firstⱼ(pⱼ₋₁) and pⱼ = restⱼ(uⱼ). Task k keeps of it
    âⱼ = aⱼ ⊙ pⱼ with the mask aⱼ = σ(N(C(ReLU(N(C [uⱼ, fⱼ₋₁(âⱼ₋₁)]))))), where C are
    1×1 convolutions and N normalizations, the task's own, and f is a 3×3 convolution
    that all tasks share, with the maximum over squares down to the size of uⱼ. The
    heads see the last â.

    Args:
      stages: pairs (first, rest) of factories of `rngs`; uⱼ and pⱼ have one shape
        [n, h, w, channelsⱼ]. `resnet_stages` gives those of a residual network.
      channels: of each stage.
      heads: one factory a task, `head(rngs)`, on [n, h, w, channels[-1]].
      rngs: for the initial numbers.

    Raises:
      ValueError: no heads, no stages or another number of channels; a stage whose two
        parts differ in shape, or whose sides do not divide those before it.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> from paretax import models
      >>> def outputs(x):
      ...     net = models.MTAN(
      ...         models.resnet_stages(), (64, 128, 256, 512),
      ...         [lambda rngs: nnx.Conv(512, 7, (1, 1), rngs=rngs)] * 2,
      ...         rngs=nnx.Rngs(0))
      ...     return net(x)
      >>> [y.shape for y in jax.eval_shape(outputs, jnp.ones((3, 64, 64, 3)))]
      [(3, 2, 2, 7), (3, 2, 2, 7)]

    Cost: the trunk once; a task adds about 3c² multiply-adds a pixel for its masks and
    9c² for f, for c channels.

    Reference: Liu, Johns & Davison, "End-to-End Multi-Task Learning with Attention",
    CVPR 2019, arXiv:1803.10704. Departures: group normalization, where the paper has
    batch normalization, whose running statistics are no parameters; here an example's
    output does not depend on the others of its batch.
    """

    def __init__(
        self,
        stages: Sequence[tuple[Make, Make]],
        channels: Sequence[int],
        heads: Sequence[Make],
        *,
        rngs: nnx.Rngs,
    ):
        if not stages or len(channels) != len(stages):
            raise ValueError(
                f"channels: expected one number for each of the {len(stages)} stages, "
                f"at least one, got {tuple(channels)}."
            )
        self.stages = nnx.List([nnx.List([f(rngs), g(rngs)]) for f, g in stages])
        before = [0, *channels[1:]]
        self.attention = nnx.List(
            [
                nnx.List([Attention(c + b, c, rngs=rngs) for _ in heads])
                for c, b in zip(channels, before, strict=True)
            ]
        )
        steps = itertools.pairwise(channels)
        self.between = nnx.List([ConvNorm(a, b, rngs=rngs) for a, b in steps])
        self.heads = make_heads(heads, rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> tuple[Array, ...]:
        """The outputs of the m heads, of the shapes that they have."""
        kept = [None] * len(self.heads)
        for j, (first, rest) in enumerate(self.stages):
            u = first(x)
            x = rest(u)
            if u.shape != x.shape:
                raise ValueError(
                    f"stages: expected both parts of stage {j} to give one shape, got "
                    f"{u.shape} and {x.shape}."
                )
            if j:
                passed = [self.between[j - 1](own) for own in kept]
                given = [jnp.concatenate([u, _pooled(y, u)], axis=-1) for y in passed]
            else:
                given = [u] * len(kept)
            pairs = zip(self.attention[j], given, strict=True)
            kept = [attention(own) * x for attention, own in pairs]
        return tuple(head(own) for head, own in zip(self.heads, kept, strict=True))


class Attention(nnx.Module):
    """σ(N(C(ReLU(N(C x))))): a mask in (0, 1), with 1×1 convolutions."""

    def __init__(self, in_features: int, out_features: int, *, rngs: nnx.Rngs):
        self.inner = ConvNorm(in_features, out_features, 1, rngs=rngs)
        self.outer = nnx.Conv(
            out_features, out_features, (1, 1), use_bias=False, rngs=rngs
        )
        self.norm = normalization(out_features, rngs=rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w f"]:
        """The mask."""
        return jax.nn.sigmoid(self.norm(self.outer(self.inner(x))))


def _pooled(x, like):
    """The maximum over equal rectangles, down to the sides of `like`."""
    (h, w), (i, j) = x.shape[1:3], like.shape[1:3]
    if h % i or w % j:
        raise ValueError(
            f"stages: expected sides that divide those of the stage before, {(h, w)}, "
            f"got {(i, j)}."
        )
    return nnx.max_pool(x, (h // i, w // j), strides=(h // i, w // j))
