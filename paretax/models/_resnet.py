"""A residual trunk: 18 layers unless said otherwise."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from paretax._checks import check_count
from paretax.models._blocks import ConvNorm

__all__ = ["ResNet", "resnet_stages"]


class ResNet(nnx.Module):
    """A residual network of basic blocks without its last layer: features of pictures.

    A 7×7 convolution with stride 2 and the maximum over 3×3 with stride 2; then stages
    of basic blocks x ← ReLU(x + N(C(ReLU(N(C x))))), each stage but the first with half
    the sides and twice the channels; then the mean over all pixels.

    Args:
      blocks: basic blocks of each stage; (2, 2, 2, 2) are 18 layers.
      width: channels of the first stage.
      channels: of the pictures.
      rngs: for the initial numbers, He normal.

    Returns of a call: [n, width · 2^(stages − 1)], 512 features by default.

    Raises:
      ValueError: no stages, or a number below 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> from paretax import models
      >>> x = jnp.ones((2, 64, 64, 3))
      >>> jax.eval_shape(lambda x: models.ResNet(rngs=nnx.Rngs(0))(x), x).shape
      (2, 512)

    Cost: by default 11.2 million parameters and 0.15 billion multiply-adds a 64×64
    picture.

    Reference: He, Zhang, Ren & Sun, "Deep Residual Learning for Image Recognition",
    CVPR 2016, arXiv:1512.03385. Departure: group normalization (Wu & He, ECCV 2018,
    arXiv:1803.08494) with 16 channels a group, where the paper has batch normalization,
    whose running statistics are no parameters; here an example's features do not depend
    on the others of its batch, so a task's gradient is its own.
    """

    def __init__(
        self,
        *,
        blocks: Sequence[int] = (2, 2, 2, 2),
        width: int = 64,
        channels: int = 3,
        rngs: nnx.Rngs,
    ):
        stages = resnet_stages(blocks=blocks, width=width, channels=channels)
        self.stages = nnx.List([make(rngs) for both in stages for make in both])

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n features"]:
        """The features of pictures."""
        for stage in self.stages:
            x = stage(x)
        return x.mean(axis=(1, 2))


def resnet_stages(
    *, blocks: Sequence[int] = (2, 2, 2, 2), width: int = 64, channels: int = 3
) -> list[tuple[Callable[[nnx.Rngs], nnx.Module], Callable[[nnx.Rngs], nnx.Module]]]:
    """The stages of `ResNet` as pairs of factories, for `MTAN`, or for `CrossStitch`.

    The first of a pair makes all blocks of its stage but the last, and before the first
    stage the 7×7 convolution; the second makes the last block.

    Args:
      blocks: basic blocks of each stage, at least 1; with 1, the first part of a later
        stage is a convolution that halves the sides.
      width: channels of the first stage; each has twice those of the one before.
      channels: of the pictures.

    Raises:
      ValueError: no stages, or a number below 1.

    Example:
      >>> from flax import nnx
      >>> from paretax import models
      >>> stages = models.resnet_stages(width=4)
      >>> joined = [lambda rngs, f=f, g=g: nnx.Sequential(f(rngs), g(rngs))
      ...           for f, g in stages]  # for CrossStitch
      >>> len(joined)
      4

    Cost: none before the factories are called.

    Reference: as `ResNet`. Where a stage has one block, the halving is a layer of its
    own: 18 layers and more are those of the paper.
    """
    if not blocks:
        raise ValueError("blocks: expected at least one stage, got none.")
    check_count("width", width)
    return [
        _pair(
            check_count("channels", channels) if j == 0 else width * 2 ** (j - 1),
            width * 2**j,
            check_count("blocks", count),
            j == 0,
        )
        for j, count in enumerate(blocks)
    ]


class _Stem(nnx.Module):
    def __init__(self, channels, width, rngs):
        self.conv = ConvNorm(channels, width, 7, strides=2, rngs=rngs)

    def __call__(self, x):
        padding = ((0, 0), (1, 1), (1, 1), (0, 0))
        return jax.lax.reduce_window(
            self.conv(x), -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), padding
        )


class _Block(nnx.Module):
    """x ← ReLU(P x + N(C(ReLU(N(C x))))), with P the identity where shapes agree."""

    def __init__(self, n_in, n_out, rngs, strides=1):
        self.inner = ConvNorm(n_in, n_out, strides=strides, rngs=rngs)
        self.outer = ConvNorm(n_out, n_out, last=True, rngs=rngs)
        self.past = (
            None
            if n_in == n_out and strides == 1
            else ConvNorm(n_in, n_out, 1, strides=strides, last=True, rngs=rngs)
        )

    def __call__(self, x):
        y = self.outer(self.inner(x))
        return jax.nn.relu(y + (x if self.past is None else self.past(x)))


def _pair(n_in, n_out, count, stem):
    def first(rngs):
        layers = []
        if stem:
            layers.append(_Stem(n_in, n_out, rngs))
        elif count == 1:
            layers.append(ConvNorm(n_in, n_out, strides=2, rngs=rngs))
        for block in range(count - 1):
            halve = block == 0 and not stem
            wide = n_in if halve else n_out
            layers.append(_Block(wide, n_out, rngs, 2 if halve else 1))
        return nnx.Sequential(*layers)

    return first, lambda rngs: _Block(n_out, n_out, rngs)
