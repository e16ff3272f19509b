"""Convolution, normalization and activation in one: what picture networks repeat."""

import math

import jax
from flax import nnx
from jaxtyping import Array, Float

from paretax._checks import check_count

__all__ = ["ConvNorm", "normalization"]

_GROUP = 16


def normalization(channels: int, *, rngs: nnx.Rngs) -> nnx.GroupNorm:
    """Group normalization with 16 channels a group, or the divisor of it that fits.

    One group for an odd number of channels: alone at a 1×1 map, a channel would be 0.
    """
    size = math.gcd(channels, _GROUP)
    return nnx.GroupNorm(
        channels,
        num_groups=None,
        group_size=size if size > 1 else channels,
        rngs=rngs,
    )


class ConvNorm(nnx.Module):
    """A convolution, group normalization, and ReLU unless `last`.

    Pixels beyond the border are 0; an odd kernel keeps the size of the picture, up to
    the strides.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel: int = 3,
        *,
        strides: int = 1,
        last: bool = False,
        rngs: nnx.Rngs,
    ):
        self.conv = nnx.Conv(
            check_count("in_features", in_features),
            check_count("out_features", out_features),
            (kernel, kernel),
            strides=strides,
            padding=kernel // 2,
            use_bias=False,
            kernel_init=nnx.initializers.he_normal(),
            rngs=rngs,
        )
        self.norm = normalization(out_features, rngs=rngs)
        self.last = last

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n i j f"]:
        """The features of x."""
        x = self.norm(self.conv(x))
        return x if self.last else jax.nn.relu(x)
