"""One trunk and one linear head a task: a perceptron, and LeNet for MultiMNIST."""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from paretax._checks import check_count
from paretax.models._convolution import PatchConv

__all__ = ["LeNet", "Perceptron"]


class Perceptron(nnx.Module):
    """A perceptron with ReLU on pictures or vectors, and one linear head a task.

    Args:
      input_shape: (height, width) of the pictures, in pixels, which are flattened; or
        (features,).
      widths: of the hidden layers, at least one.
      num_tasks: heads, at least 1.
      num_classes: outputs of each head, at least 1.
      pool: side of the squares that are averaged first, 1 for none; it divides both
        sides of the picture.
      rngs: for the initial kernels, He normal; biases start at 0.

    Raises:
      ValueError: a size below 1, `pool` that does not divide the picture, or another
        than 1 for vectors.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from paretax import models
      >>> net = models.Perceptron((36, 36), (256, 64), pool=2, rngs=nnx.Rngs(0))
      >>> net(jnp.ones((5, 36, 36))).shape
      (2, 5, 10)

    Cost: 2 · batch · Σ widthᵢ · widthᵢ₊₁ flops forward.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        widths: Sequence[int] = (256, 64),
        *,
        num_tasks: int = 2,
        num_classes: int = 10,
        pool: int = 1,
        rngs: nnx.Rngs,
    ):
        check_count("pool", pool)
        if pool > 1 and len(input_shape) != 2:
            raise ValueError(f"pool: expected 1 for vectors, got {pool}.")
        if any(side % pool for side in input_shape):
            raise ValueError(
                f"pool: expected a divisor of the picture's sides {input_shape}, got "
                f"{pool}."
            )
        if not widths:
            raise ValueError("widths: expected at least one hidden layer, got none.")
        self.pool = pool
        sizes = [math.prod(input_shape) // pool**2, *widths]
        self.trunk = nnx.List(
            [
                nnx.Linear(
                    check_count("widths", n_in),
                    check_count("widths", n_out),
                    kernel_init=nnx.initializers.he_normal(),
                    rngs=rngs,
                )
                for n_in, n_out in itertools.pairwise(sizes)
            ]
        )
        self.heads = _heads(sizes[-1], num_tasks, num_classes, rngs)

    def __call__(self, x: Float[Array, "n ..."]) -> Float[Array, "m n classes"]:
        """Logits of every task."""
        if self.pool > 1:
            n, h, w = x.shape
            x = x.reshape(n, h // self.pool, self.pool, w // self.pool, self.pool)
            x = x.mean(axis=(2, 4))
        x = x.reshape(x.shape[0], -1)
        for layer in self.trunk:
            x = jax.nn.relu(layer(x))
        return jnp.stack([head(x) for head in self.heads])


class LeNet(nnx.Module):
    """The LeNet of the Pareto front literature, and one linear head a task.

    Convolution 9×9 to 10 channels, ReLU, maximum over 2×2; convolution 5×5 to 20, ReLU,
    maximum over 2×2; linear to 50, ReLU; heads.

    Args:
      input_shape: (height, width) of the pictures, in pixels; 36×36 gives 500 features.
      num_tasks: heads, at least 1.
      num_classes: of each head, at least 1.
      rngs: for the initial kernels; biases start at 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from paretax import models
      >>> models.LeNet(rngs=nnx.Rngs(0))(jnp.ones((5, 36, 36))).shape
      (2, 5, 10)

    Cost: 1.16 million multiply-adds a 36×36 picture forward, as patches and products.

    Reference: Lin et al., "Pareto Multi-Task Learning", NeurIPS 2019, arXiv:1912.12854.
    Departure: the initial kernels are LeCun and He normal.
    """

    def __init__(
        self,
        input_shape: tuple[int, int] = (36, 36),
        *,
        num_tasks: int = 2,
        num_classes: int = 10,
        rngs: nnx.Rngs,
    ):
        self.conv1 = PatchConv(1, 10, (9, 9), rngs=rngs)
        self.conv2 = PatchConv(10, 20, (5, 5), rngs=rngs)
        high, wide = (((side - 8) // 2 - 4) // 2 for side in input_shape)
        self.linear = nnx.Linear(
            high * wide * 20, 50, kernel_init=nnx.initializers.he_normal(), rngs=rngs
        )
        self.heads = _heads(50, num_tasks, num_classes, rngs)

    def __call__(self, x: Float[Array, "n h w"]) -> Float[Array, "m n classes"]:
        """Logits of every task."""
        x = _halve(jax.nn.relu(self.conv1(x[..., None])))
        x = _halve(jax.nn.relu(self.conv2(x)))
        x = jax.nn.relu(self.linear(x.reshape(x.shape[0], -1)))
        return jnp.stack([head(x) for head in self.heads])


def _heads(features, num_tasks, num_classes, rngs):
    check_count("num_tasks", num_tasks)
    check_count("num_classes", num_classes)
    heads = [nnx.Linear(features, num_classes, rngs=rngs) for _ in range(num_tasks)]
    return nnx.List(heads)


def _halve(x):
    """The maximum over squares of 2×2; a last odd row or column is left out."""
    n, h, w, c = x.shape
    x = x[:, : h // 2 * 2, : w // 2 * 2]
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))
