"""A convolution as patches and one matrix product."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

__all__ = ["PatchConv"]


class PatchConv(nnx.Module):
    """A 2-d convolution without padding, stride 1, as patches times a matrix.

    The same function and the same parameter shapes as
    `nnx.Conv(..., padding="VALID")`, in another order of sums. XLA's CPU convolutions
    run several times slower inside `scan` and `lax.map`; a matrix product does not.

    Args:
      in_features: channels of the input, at least 1.
      out_features: channels of the output, at least 1.
      kernel_size: (height, width) of the kernel, in pixels.
      rngs: for the initial kernel, LeCun normal; the bias starts at 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from paretax import models
      >>> layer = models.PatchConv(1, 10, (9, 9), rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((2, 36, 36, 1))).shape
      (2, 28, 28, 10)

    Cost: the flops of the convolution; the memory of the patches, height × width times
    the input's.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: tuple[int, int],
        *,
        rngs: nnx.Rngs,
    ):
        shape = (*kernel_size, in_features, out_features)
        self.kernel = nnx.Param(nnx.initializers.lecun_normal()(rngs.params(), shape))
        self.bias = nnx.Param(jnp.zeros(out_features))
        self.kernel_size = kernel_size

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n i j f"]:
        """The convolution of x; the spatial size shrinks by the kernel's less one."""
        high, wide = self.kernel_size
        rows = x.shape[1] - high + 1
        columns = x.shape[2] - wide + 1
        patches = [
            jax.lax.slice_in_dim(
                jax.lax.slice_in_dim(x, i, i + rows, axis=1), j, j + columns, axis=2
            )
            for i in range(high)
            for j in range(wide)
        ]
        kernel = self.kernel[...]
        flat = kernel.reshape(-1, kernel.shape[-1])
        return jnp.concatenate(patches, axis=-1) @ flat + self.bias[...]
