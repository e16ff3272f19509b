"""One network that writes the parameters of another for every preference."""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PyTree

from paretax._checks import check_count
from paretax._direction import value_and_direction
from paretax._weighting import Weighting

__all__ = ["ChunkedHypernetwork", "Hypernetwork", "hypernetwork_direction"]


class Hypernetwork(nnx.Module):
    """The parameters of a target network as a function of a preference, leaf by leaf.

    A ray p on the simplex goes through three linear layers, with a ReLU after the first
    two; one linear layer a leaf of the target's parameters makes that leaf of it.

    Args:
      template: the target's parameters, a pytree of arrays or of shapes with dtypes;
        its numbers are not used.
      num_tasks: m, the length of a ray.
      hidden: features of each of the three layers.
      rngs: for the initial numbers, uniform in ±1/√n for a layer of n inputs, kernels
        and biases alike.

    Raises:
      ValueError: a number below 1, or a template without leaves.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> from paretax import models
      >>> target, apply = models.as_functions(nnx.Linear(3, 2, rngs=nnx.Rngs(0)))
      >>> net = models.Hypernetwork(target, 2, rngs=nnx.Rngs(1))
      >>> params, generate = models.as_functions(net)
      >>> apply(generate(params, jnp.array([0.5, 0.5])), jnp.ones((4, 3))).shape
      (4, 2)
      >>> rays = jnp.array([[0.2, 0.8], [0.5, 0.5], [0.8, 0.2]])
      >>> members = jax.vmap(generate, (None, 0))(params, rays)
      >>> members["kernel"].shape
      (3, 3, 2)

    Cost: `hidden` times the target's size, in parameters and in multiply-adds a ray.

    Reference: Navon, Shamsian, Chechik & Fetaya, "Learning the Pareto Front with
    Hypernetworks", ICLR 2021, arXiv:2010.04104, and its public code. Departures: none
    known in the network; one leaf is one layer, as there.
    """

    def __init__(
        self, template: PyTree, num_tasks: int, *, hidden: int = 100, rngs: nnx.Rngs
    ):
        self.target = nnx.static(_described(template))
        sizes = [check_count("num_tasks", num_tasks), *[hidden] * 3]
        check_count("hidden", hidden)
        self.trunk = _layers(sizes, rngs)
        self.heads = nnx.List([_linear(hidden, n, rngs) for n in self.target.sizes])

    def __call__(self, ray: Float[Array, " m"]) -> PyTree:
        """The target's parameters for one ray."""
        features = _through(self.trunk, ray)
        return _shaped(self.target, [head(features) for head in self.heads])


class ChunkedHypernetwork(nnx.Module):
    """A hypernetwork for large targets: the same layers write one chunk after another.

    With the embeddings E p of the ray and e_c of chunk c, three linear layers with ReLU
    in between turn (E p, e_c) into features, and one matrix turns these into the c-th
    `chunk_size` numbers of the target's parameters.

    Args:
      template: as for `Hypernetwork`.
      num_tasks: m, the length of a ray.
      chunk_size: numbers a chunk.
      hidden: features of each of the three layers.
      rngs: for the initial numbers: embeddings and matrix normal with deviation 0.1,
        the layers as in `Hypernetwork`.

    Raises:
      ValueError: a number below 1, or a template without leaves.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from paretax import models
      >>> target, _ = models.as_functions(nnx.Linear(30, 20, rngs=nnx.Rngs(0)))
      >>> net = models.ChunkedHypernetwork(target, 2, chunk_size=100, rngs=nnx.Rngs(1))
      >>> net(jnp.array([0.5, 0.5]))["kernel"].shape, net.chunks[...].shape
      ((30, 20), (7, 64))

    Cost: `hidden` · `chunk_size` parameters, and `hidden` times the target's size in
    multiply-adds a ray.

    Reference: as `Hypernetwork`, by the code's network for ResNet-18, whose matrices of
    10,000 columns are one here.
    """

    def __init__(
        self,
        template: PyTree,
        num_tasks: int,
        *,
        chunk_size: int,
        hidden: int = 100,
        rngs: nnx.Rngs,
    ):
        self.target = nnx.static(_described(template))
        check_count("hidden", hidden)
        count = -(-sum(self.target.sizes) // check_count("chunk_size", chunk_size))
        normal = nnx.initializers.normal(0.1)

        def table(*shape):
            return nnx.Param(normal(rngs.params(), shape))

        self.rays = table(check_count("num_tasks", num_tasks), 32)
        self.chunks = table(count, 64)
        self.trunk = _layers([32 + 64, *[hidden] * 3], rngs)
        self.matrix = table(hidden, chunk_size)

    def __call__(self, ray: Float[Array, " m"]) -> PyTree:
        """The target's parameters for one ray."""
        chunks = self.chunks[...]
        embedded = jnp.broadcast_to(ray @ self.rays[...], (len(chunks), 32))
        features = _through(self.trunk, jnp.concatenate([embedded, chunks], axis=1))
        flat = (features @ self.matrix[...]).reshape(-1)
        sizes = self.target.sizes
        ends = list(itertools.accumulate(sizes))
        return _shaped(self.target, jnp.split(flat[: ends[-1]], ends[:-1]))


def hypernetwork_direction(
    generate: Callable[[PyTree, Array], PyTree],
    losses: Callable[..., Array],
    method: Callable[[Array], Weighting],
    *,
    batch_size: int | None = None,
    **options: Any,
) -> Callable[..., tuple[Any, PyTree, Any]]:
    """The gradient of a hypernetwork for a ray, by any weighting of the task losses.

    With θ = generate(φ, p) and w the weights that `method(p)` gives the losses and the
    Gramian of their gradients in θ: (∂θ/∂φ)ᵀ Σᵢ wᵢ ∇_θ fᵢ; for r rays, the mean.

    Args:
      generate: `generate(params, ray) -> target parameters`, as `as_functions` of a
        hypernetwork gives it.
      losses: `losses(target parameters, *args) -> f`, shape [m].
      method: a ray to a weighting: `lambda ray: px.from_losses(
        px.scalarizations.linear(ray))` for the weighted sum, `ensembles.epo` for exact
        Pareto optimal search.
      batch_size: with several rays, how many targets are differentiated at once: all
        (None), or fewer; 1 on a CPU.
      **options: as for `paretax.value_and_direction`.

    Returns:
      `(params, state, ray, *args) -> (f, gradient, state)`; the gradient is like
      `params`. The state is the weighting's, `method(ray).init(m)` at first. A ray has
      shape [m]; for rays of shape [r, m] state and arguments have a leading axis of r,
      and so have the losses that return.

    Raises:
      ValueError: as `paretax.value_and_direction`; a ray of another number of axes.

    Example:
      >>> import jax, jax.numpy as jnp, paretax as px
      >>> from paretax import models
      >>> linear = lambda ray: px.from_losses(px.scalarizations.linear(ray))
      >>> step = models.hypernetwork_direction(
      ...     lambda params, ray: params @ ray,
      ...     lambda x: jnp.stack([x @ x, x[0]]), linear)
      >>> ray = jnp.array([0.5, 0.5])
      >>> f, gradient, _ = step(jnp.eye(2), linear(ray).init(2), ray)
      >>> f.tolist(), gradient.tolist()
      ([0.5, 0.5], [[0.5, 0.5], [0.25, 0.25]])

    Cost: that of `value_and_direction` on each target, and the hypernetwork forward and
    backward once: one product of matrices for all rays.

    Reference: as `Hypernetwork`; the paper draws one ray a step from a Dirichlet
    distribution, with parameter 0.2 in its code: `jax.random.dirichlet(key, jnp.full(m,
    0.2))`. Departure: its code takes EPO's Gramian in φ, which is about `hidden` times
    as long; that is `px.value_and_direction` of losses(generate(φ, p)), of φ. Its code
    multiplies EPO's weights by m.
    """

    def one(ray, target, state, args, kwargs):
        direction = value_and_direction(losses, method(ray), **options)
        return direction(target, state, *args, **kwargs)

    def step(params, state, ray, *args, **kwargs):
        given = (state, args, kwargs)
        if jnp.ndim(ray) == 1:
            target, pullback = jax.vjp(lambda p: generate(p, ray), params)
            f, gradient, new = one(ray, target, *given)
            return f, pullback(gradient)[0], new
        if jnp.ndim(ray) != 2:
            raise ValueError(
                f"ray: expected shape [m] or [r, m], got {jnp.shape(ray)}."
            )
        r = jnp.shape(ray)[0]
        targets, pullback = jax.vjp(
            lambda p: jax.vmap(generate, (None, 0))(p, ray), params
        )
        f, gradients, new = jax.lax.map(
            lambda own: one(*own), (ray, targets, *given), batch_size=batch_size or r
        )
        return f, pullback(jax.tree.map(lambda g: g / r, gradients))[0], new

    return step


class _Target(NamedTuple):
    """How numbers become the parameters of the target; hashable, no array in it."""

    tree: Any
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    sizes: tuple[int, ...]


def _described(template):
    leaves, tree = jax.tree.flatten(template)
    if not leaves:
        raise ValueError("template: expected at least one array, got none.")
    shapes = tuple(tuple(leaf.shape) for leaf in leaves)
    dtypes = tuple(jnp.dtype(leaf.dtype).name for leaf in leaves)
    return _Target(tree, shapes, dtypes, tuple(map(math.prod, shapes)))


def _shaped(target, flat):
    """The parameters from one vector a leaf."""
    leaves = [
        part.reshape(shape).astype(dtype)
        for part, shape, dtype in zip(flat, target.shapes, target.dtypes, strict=True)
    ]
    return jax.tree.unflatten(target.tree, leaves)


def _linear(inputs, outputs, rngs):
    bound = 1 / math.sqrt(inputs)

    def uniform(key, shape, dtype=jnp.float32, out_sharding=None):
        del out_sharding
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return nnx.Linear(
        inputs, outputs, kernel_init=uniform, bias_init=uniform, rngs=rngs
    )


def _layers(sizes, rngs):
    pairs = itertools.pairwise(sizes)
    return nnx.List([_linear(n, o, rngs) for n, o in pairs])


def _through(layers, x):
    for layer in list(layers)[:-1]:
        x = jax.nn.relu(layer(x))
    return layers[-1](x)
