"""Message passing between the atoms of a molecule, and one head a property."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from paretax._checks import check_count

__all__ = ["MessagePassing"]

_NEAREST, _FARTHEST = 0.5, 8.0  # Å, the centers of the Gaussians


class MessagePassing(nnx.Module):
    """A message-passing network on positions and charges, padded with charge 0.

    With hᵢ the features of atom i and eᵢⱼ Gaussians of the distance of i and j, each
    step takes mᵢ = ReLU(W hᵢ + meanⱼ A(eᵢⱼ) hⱼ) over all other atoms, A a perceptron
    with one hidden layer that gives a matrix, and hᵢ ← GRU(mᵢ, hᵢ). A set-to-set
    attention reads the atoms in `readout_steps` steps; a linear layer, ReLU, and one
    linear head a task follow.

    Args:
      num_tasks: m, 11 for QM9.
      features: numbers an atom; 64 in the literature.
      hidden: of A's hidden layer; 128 in the literature.
      steps: of message passing, with the same parameters.
      readout_steps: of the set-to-set attention.
      gaussians: numbers in e, centers equally apart from 0.5 to 8 Å.
      elements: the nuclear charges there are.
      rngs: for the initial numbers.

    Raises:
      ValueError: a number below 1, `gaussians` below 2, no elements.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> from paretax import models
      >>> def outputs(positions, charges):
      ...     return models.MessagePassing(rngs=nnx.Rngs(0))(positions, charges)
      >>> positions, charges = jnp.zeros((5, 29, 3)), jnp.zeros((5, 29), int)
      >>> jax.eval_shape(outputs, positions, charges).shape
      (11, 5, 1)

    Cost: a · features · hidden · (a + features) multiply-adds a molecule of a padded
    atoms and step: the sum over j goes before the matrix, so that A(eᵢⱼ) is never
    held; a · features · hidden numbers of memory.

    Reference: Gilmer et al., "Neural Message Passing for Quantum Chemistry", ICML 2017,
    arXiv:1704.01212, in the form of Navon et al., "Multi-Task Learning as a Bargaining
    Game", ICML 2022, arXiv:2202.01017, and its public code. Departures: an atom's
    features are its element alone, without hybridization, aromaticity and hydrogens;
    an edge's are Gaussians of its distance, where there are bond types and the distance
    itself; half the features and a quarter of the hidden ones by default.
    """

    def __init__(
        self,
        num_tasks: int = 11,
        *,
        features: int = 32,
        hidden: int = 32,
        steps: int = 3,
        readout_steps: int = 3,
        gaussians: int = 16,
        elements: Sequence[int] = (1, 6, 7, 8, 9),
        rngs: nnx.Rngs,
    ):
        d = check_count("features", features)
        check_count("gaussians", gaussians, 2)
        if not elements:
            raise ValueError("elements: expected at least one charge, got none.")
        self.elements = tuple(elements)
        self.gaussians = gaussians
        self.steps = check_count("steps", steps)
        self.readout_steps = check_count("readout_steps", readout_steps)
        self.embed = nnx.Linear(len(self.elements), d, rngs=rngs)
        self.edge = nnx.Linear(gaussians, check_count("hidden", hidden), rngs=rngs)
        # row (h, c): what hidden number h, or 1 for the last, does with feature c
        self.matrix = nnx.Linear((hidden + 1) * d, d, use_bias=False, rngs=rngs)
        self.root = nnx.Linear(d, d, rngs=rngs)
        self.gru = _Gru(d, rngs)
        self.readout = _SetToSet(d, rngs)
        self.last = nnx.Linear(2 * d, d, rngs=rngs)
        count = check_count("num_tasks", num_tasks)
        self.heads = nnx.List([nnx.Linear(d, 1, rngs=rngs) for _ in range(count)])

    def __call__(
        self, positions: Float[Array, "n a 3"], charges: Int[Array, "n a"]
    ) -> Float[Array, "m n 1"]:
        """The m properties of n molecules of at least one atom each.

        Args:
          positions: in Å; those of padding do not matter.
          charges: of the nuclei; 0 where there is no atom.
        """
        there = charges > 0
        hot = charges[..., None] == jnp.array(self.elements)
        h = jax.nn.relu(self.embed(hot.astype(positions.dtype)))
        weights = self._weights(positions, there)
        for _ in range(self.steps):
            summed = jnp.einsum("nijk,njc->nikc", weights, h)
            message = self.matrix(summed.reshape(*h.shape[:2], -1))
            h = self.gru(jax.nn.relu(self.root(h) + message), h)
        read = self.readout(h, there, self.readout_steps)
        read = jax.nn.relu(self.last(read))
        return jnp.stack([head(read) for head in self.heads])

    def _weights(self, positions, there):
        """A's hidden layer and a 1, over the number of neighbors; 0 for no edge."""
        a = there.shape[1]
        edge = there[:, :, None] & there[:, None] & ~jnp.eye(a, dtype=bool)
        squares = jnp.sum((positions[:, :, None] - positions[:, None]) ** 2, axis=-1)
        # the root has no derivative at 0, where there is no edge
        distance = jnp.sqrt(jnp.where(edge, squares, 1.0))
        centers = jnp.linspace(_NEAREST, _FARTHEST, self.gaussians)
        width = (_FARTHEST - _NEAREST) / (self.gaussians - 1)
        e = jnp.exp(-0.5 * ((distance[..., None] - centers) / width) ** 2)
        hidden = jax.nn.relu(self.edge(e))
        hidden = jnp.concatenate([hidden, jnp.ones_like(hidden[..., :1])], axis=-1)
        neighbors = jnp.maximum(edge.sum(axis=2), 1)
        return jnp.where(edge[..., None], hidden, 0) / neighbors[:, :, None, None]


class _Gru(nnx.Module):
    """z ⊙ h + (1 − z) ⊙ tanh(W x + r ⊙ U h), with gates r and z of x and h."""

    def __init__(self, d, rngs):
        self.new = nnx.Linear(d, 3 * d, rngs=rngs)
        self.old = nnx.Linear(d, 3 * d, rngs=rngs)

    def __call__(self, x, h):
        reset, keep, new = jnp.split(self.new(x), 3, axis=-1)
        old_reset, old_keep, old_new = jnp.split(self.old(h), 3, axis=-1)
        r = jax.nn.sigmoid(reset + old_reset)
        z = jax.nn.sigmoid(keep + old_keep)
        return z * h + (1 - z) * jnp.tanh(new + r * old_new)


class _SetToSet(nnx.Module):
    """q ← LSTM([q, r]), r = Σᵢ softmax(hᵢ·q)ᵢ hᵢ over the atoms; [q, r] at the end.

    Reference: Vinyals, Bengio & Kudlur, "Order Matters: Sequence to Sequence for Sets",
    ICLR 2016, arXiv:1511.06391.
    """

    def __init__(self, d, rngs):
        self.seen = nnx.Linear(2 * d, 4 * d, rngs=rngs)
        self.past = nnx.Linear(d, 4 * d, use_bias=False, rngs=rngs)

    def __call__(self, h, there: Bool[Array, "n a"], steps: int):
        q = jnp.zeros_like(h[:, 0])
        read = jnp.concatenate([q, q], axis=-1)
        cell = q
        for _ in range(steps):
            gates = self.seen(read) + self.past(q)
            take, forget, new, out = jnp.split(gates, 4, axis=-1)
            cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(take) * jnp.tanh(new)
            q = jax.nn.sigmoid(out) * jnp.tanh(cell)
            match = jnp.einsum("nac,nc->na", h, q)
            share = jax.nn.softmax(jnp.where(there, match, -jnp.inf), axis=-1)
            read = jnp.concatenate([q, jnp.einsum("na,nac->nc", share, h)], axis=-1)
        return read
