"""SegNet with attention of each task: dense prediction."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from paretax._checks import check_count
from paretax.models._attention import Attention
from paretax.models._blocks import ConvNorm

__all__ = ["SegNetMTAN"]


class SegNetMTAN(nnx.Module):
    """The network of the dense prediction literature: SegNet, and masks of each task.

    The trunk goes down through stages of 3×3 convolutions, each ended by the maximum
    over 2×2, and up again: a value returns to the pixel that its maximum came from,
    zeros elsewhere. Each task masks the features of every stage, down and up, as in
    `MTAN`; what it kept is passed on by a 3×3 convolution that tasks share. A head is a
    3×3 and a 1×1 convolution.

    Args:
      outputs: channels of each task's map: (13, 1, 3) for NYUv2's segmentation, depth
        and normals, (7, 1) for Cityscapes.
      widths: channels of each stage on the way down.
      channels: of the pictures.
      rngs: for the initial numbers.

    Raises:
      ValueError: no outputs, no widths, a number below 1; sides of a picture that
        2^stages does not divide.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> from paretax import models
      >>> def outputs(x):
      ...     net = models.SegNetMTAN((7, 1), widths=(16, 32), rngs=nnx.Rngs(0))
      ...     return net(x)
      >>> [y.shape for y in jax.eval_shape(outputs, jnp.ones((2, 128, 256, 3)))]
      [(2, 128, 256, 7), (2, 128, 256, 1)]

    Cost: 44 million parameters for NYUv2 by default; with all widths divided by s, s²
    times fewer.

    Reference: Badrinarayanan, Kendall & Cipolla, "SegNet", TPAMI 2017,
    arXiv:1511.00561; Liu, Johns & Davison, "End-to-End Multi-Task Learning with
    Attention", CVPR 2019, arXiv:1803.10704, and its public code, layer by layer.
    Departures: group normalization for batch normalization, see `MTAN`; no bias before
    a normalization; He normal initial kernels; maps grow by bilinear interpolation with
    pixel centers aligned, not corners; the outputs are raw: logits, and normals of any
    length.
    """

    def __init__(
        self,
        outputs: Sequence[int],
        *,
        widths: Sequence[int] = (64, 128, 256, 512, 512),
        channels: int = 3,
        rngs: nnx.Rngs,
    ):
        if not outputs or not widths:
            raise ValueError(
                "outputs, widths: expected at least one number each, got "
                f"{tuple(outputs)} and {tuple(widths)}."
            )
        ends = [widths[0], *widths[:-1]]  # channels after a stage on the way up
        befores = [channels, *widths[:-1]]
        afters = [*widths[1:], widths[-1]]
        rests = [1 if j < 2 else 2 for j in range(len(widths))]
        tasks = [check_count("outputs", count) for count in outputs]

        def conv(n_in, n_out):
            return ConvNorm(n_in, n_out, rngs=rngs)

        def convs(width, count):
            return nnx.Sequential(*[conv(width, width) for _ in range(count)])

        def masks(n_in, n_out):
            return nnx.List([Attention(n_in, n_out, rngs=rngs) for _ in tasks])

        self.down_first = nnx.List(list(map(conv, befores, widths)))
        self.down_rest = nnx.List(list(map(convs, widths, rests)))
        self.up_first = nnx.List(list(map(conv, widths, ends)))
        self.up_rest = nnx.List(list(map(convs, ends, rests)))
        down = [width * (1 if j == 0 else 2) for j, width in enumerate(widths)]
        self.down_masks = nnx.List(list(map(masks, down, widths)))
        up = [width + end for width, end in zip(widths, ends, strict=True)]
        self.up_masks = nnx.List(list(map(masks, up, ends)))
        self.down_pass = nnx.List(list(map(conv, widths, afters)))
        self.up_pass = nnx.List(list(map(conv, widths, ends)))
        self.heads = nnx.List([_head(widths[0], count, rngs) for count in tasks])

    def __call__(self, x: Float[Array, "n h w c"]) -> tuple[Array, ...]:
        """The m maps, [n, h, w, outputsₖ]."""
        stages = len(self.down_first)
        if any(side % 2**stages for side in x.shape[1:3]):
            raise ValueError(
                f"x: expected sides that 2^{stages} divides, got {x.shape[1:3]}."
            )
        kept: list = [None] * len(self.heads)
        places = []
        for j in range(stages):
            first = self.down_first[j](x)
            rest = self.down_rest[j](first)
            x, place = _pool(rest)
            places.append(place)
            kept = [
                _pool(self.down_pass[j](mask(_beside(first, own)) * rest))[0]
                for mask, own in zip(self.down_masks[j], kept, strict=True)
            ]
        for j in reversed(range(stages)):
            grown = _unpool(x, places[j])
            x = self.up_rest[j](self.up_first[j](grown))
            kept = [
                mask(_beside(grown, self.up_pass[j](_twice(own)))) * x
                for mask, own in zip(self.up_masks[j], kept, strict=True)
            ]
        return tuple(head(own) for head, own in zip(self.heads, kept, strict=True))


def _head(width, count, rngs):
    return nnx.Sequential(
        nnx.Conv(width, width, (3, 3), rngs=rngs),
        nnx.Conv(width, count, (1, 1), rngs=rngs),
    )


def _beside(x, y):
    return x if y is None else jnp.concatenate([x, y], axis=-1)


def _twice(x):
    n, h, w, c = x.shape
    return jax.image.resize(x, (n, 2 * h, 2 * w, c), "bilinear")


def _pool(
    x: Float[Array, "n h w c"],
) -> tuple[Float[Array, "n i j c"], Bool[Array, "n i j c 4"]]:
    """The maximum over squares of 2×2, and where in its square each was."""
    n, h, w, c = x.shape
    squares = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4)
    squares = squares.reshape(n, h // 2, w // 2, c, 4)
    place = jnp.argmax(squares, axis=-1)[..., None] == jnp.arange(4)
    return jnp.where(place, squares, 0).sum(axis=-1), place


def _unpool(
    x: Float[Array, "n i j c"], place: Bool[Array, "n i j c 4"]
) -> Float[Array, "n h w c"]:
    """Each value back in its place, zeros in the other three."""
    n, i, j, c = x.shape
    squares = jnp.where(place, x[..., None], 0).reshape(n, i, j, c, 2, 2)
    return squares.transpose(0, 1, 4, 2, 5, 3).reshape(n, 2 * i, 2 * j, c)
