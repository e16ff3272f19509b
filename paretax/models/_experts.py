"""Experts mixed by gates: MMoE, CGC and PLE."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from paretax._checks import check_count
from paretax.models._hard_sharing import Make, make_heads

__all__ = ["CGC", "PLE", "MMoE"]


class MMoE(nnx.Module):
    """yₖ = headₖ(Σᵢ gₖ(x)ᵢ Eᵢ(x)) with gₖ(x) = softmax(Wₖ x): a gate a task.

    Multi-gate mixture of experts: all tasks share the e experts E and mix them in
    their own way, anew for each example.

    Args:
      expert: `expert(rngs)` makes one expert; its features have any shape [n, ...].
      heads: one factory a task, `head(rngs)`.
      num_experts: e.
      in_features: numbers in one example x, flattened for the gates.
      rngs: for the initial numbers.

    Raises:
      ValueError: no heads, a number below 1, or x of another size.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from paretax import models
      >>> net = models.MMoE(
      ...     lambda rngs: nnx.Linear(6, 4, rngs=rngs),
      ...     [lambda rngs: nnx.Linear(4, 1, rngs=rngs)] * 2,
      ...     num_experts=3, in_features=6, rngs=nnx.Rngs(0))
      >>> [y.shape for y in net(jnp.ones((5, 6)))]
      [(5, 1), (5, 1)]

    Cost: every expert once, and m·e products of the features' size an example.

    Reference: Ma et al., "Modeling Task Relationships in Multi-task Learning with
    Multi-gate Mixture-of-Experts", KDD 2018. Departures: none known; gates have no
    bias, as there.
    """

    def __init__(
        self,
        expert: Make,
        heads: Sequence[Make],
        *,
        num_experts: int,
        in_features: int,
        rngs: nnx.Rngs,
    ):
        count = check_count("num_experts", num_experts)
        self.experts = nnx.List([expert(rngs) for _ in range(count)])
        self.heads = make_heads(heads, rngs)
        self.gates = nnx.List([_gate(in_features, count, rngs) for _ in heads])

    def __call__(self, x: Float[Array, "n ..."]) -> tuple[Array, ...]:
        """The outputs of the m heads, of the shapes that they have."""
        features = jnp.stack([expert(x) for expert in self.experts], axis=1)
        return tuple(
            head(_mixed(gate, x, features))
            for gate, head in zip(self.gates, self.heads, strict=True)
        )


class PLE(nnx.Module):
    """Progressive layered extraction: levels of shared and of own experts.

    On level j, task k has its own experts, which see xₖ, and all tasks have shared
    ones, which see s. The gate of task k mixes its own experts and the shared ones,
    with weights softmax(Wₖ xₖ), to the next xₖ; a shared gate mixes all experts, with
    weights softmax(V s), to the next s. At first xₖ = s = x; the last level has no
    shared gate, and the heads see its xₖ.

    Args:
      experts: one factory a level, `expert(rngs)`; all experts of a level are alike.
      heads: one factory a task, `head(rngs)`.
      num_shared: shared experts on each level.
      num_own: experts of each task on each level.
      in_features: for each level the numbers in one example of its input.
      rngs: for the initial numbers.

    Raises:
      ValueError: no heads, no levels or of another number, a number below 1, or an
        input of another size.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from paretax import models
      >>> net = models.PLE(
      ...     [lambda rngs: nnx.Linear(6, 5, rngs=rngs),
      ...      lambda rngs: nnx.Linear(5, 4, rngs=rngs)],
      ...     [lambda rngs: nnx.Linear(4, 1, rngs=rngs)] * 2,
      ...     num_shared=2, num_own=1, in_features=(6, 5), rngs=nnx.Rngs(0))
      >>> [y.shape for y in net(jnp.ones((3, 6)))]
      [(3, 1), (3, 1)]

    Cost: num_shared + m · num_own experts a level.

    Reference: Tang et al., "Progressive Layered Extraction (PLE): A Novel Multi-Task
    Learning (MTL) Model for Personalized Recommendations", RecSys 2020. Departures:
    none known. LibMTL differs: there, shared experts see the input of each task, and
    there is no shared gate.
    """

    def __init__(
        self,
        experts: Sequence[Make],
        heads: Sequence[Make],
        *,
        num_shared: int,
        num_own: int,
        in_features: Sequence[int],
        rngs: nnx.Rngs,
    ):
        if not experts or len(in_features) != len(experts):
            raise ValueError(
                f"in_features: expected one number for each of the {len(experts)} "
                f"levels, at least one, got {tuple(in_features)}."
            )
        counts = (
            len(heads),
            check_count("num_shared", num_shared),
            check_count("num_own", num_own),
        )
        self.levels = nnx.List(
            [
                _Level(expert, *counts, size, level + 1 < len(experts), rngs)
                for level, (expert, size) in enumerate(
                    zip(experts, in_features, strict=True)
                )
            ]
        )
        self.heads = make_heads(heads, rngs)

    def __call__(self, x: Float[Array, "n ..."]) -> tuple[Array, ...]:
        """The outputs of the m heads, of the shapes that they have."""
        own, shared = [x] * len(self.heads), x
        for level in self.levels:
            own, shared = level(own, shared)
        return tuple(head(y) for head, y in zip(self.heads, own, strict=True))


class CGC(PLE):
    """Customized gate control: progressive layered extraction with one level.

    Args:
      expert: `expert(rngs)` makes one expert.
      heads: one factory a task, `head(rngs)`.
      num_shared: shared experts.
      num_own: experts of each task.
      in_features: numbers in one example x, flattened for the gates.
      rngs: for the initial numbers.

    Raises:
      ValueError: as `PLE`.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from paretax import models
      >>> net = models.CGC(
      ...     lambda rngs: nnx.Linear(6, 4, rngs=rngs),
      ...     [lambda rngs: nnx.Linear(4, 1, rngs=rngs)] * 2,
      ...     num_shared=2, num_own=1, in_features=6, rngs=nnx.Rngs(0))
      >>> [y.shape for y in net(jnp.ones((5, 6)))]
      [(5, 1), (5, 1)]

    Cost: num_shared + m · num_own experts.

    Reference: as `PLE`.
    """

    def __init__(
        self,
        expert: Make,
        heads: Sequence[Make],
        *,
        num_shared: int,
        num_own: int,
        in_features: int,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            [expert],
            heads,
            num_shared=num_shared,
            num_own=num_own,
            in_features=(in_features,),
            rngs=rngs,
        )


class _Level(nnx.Module):
    """The experts of one level, and their gates."""

    def __init__(self, expert, m, num_shared, num_own, in_features, more, rngs):
        def some(count):
            return nnx.List([expert(rngs) for _ in range(count)])

        self.shared = some(num_shared)
        self.own = nnx.List([some(num_own) for _ in range(m)])
        self.gates = nnx.List(
            [_gate(in_features, num_own + num_shared, rngs) for _ in range(m)]
        )
        every = m * num_own + num_shared
        self.shared_gate = _gate(in_features, every, rngs) if more else None

    def __call__(self, own, shared):
        common = [expert(shared) for expert in self.shared]
        mine = [
            [expert(x) for expert in experts]
            for experts, x in zip(self.own, own, strict=True)
        ]
        mixed = [
            _mixed(gate, x, jnp.stack([*features, *common], axis=1))
            for gate, x, features in zip(self.gates, own, mine, strict=True)
        ]
        if self.shared_gate is None:
            return mixed, shared
        every = [feature for features in mine for feature in features]
        stacked = jnp.stack([*every, *common], axis=1)
        return mixed, _mixed(self.shared_gate, shared, stacked)


def _gate(in_features, count, rngs):
    size = check_count("in_features", in_features)
    return nnx.Linear(size, count, use_bias=False, rngs=rngs)


def _mixed(gate, x, features):
    """Features [n, e, ...] with the weights softmax(gate(x)) [n, e]."""
    flat = x.reshape(x.shape[0], -1)
    if flat.shape[1] != gate.in_features:
        raise ValueError(
            f"in_features: expected {flat.shape[1]}, the numbers of one example of "
            f"shape {x.shape[1:]}, got {gate.in_features}."
        )
    return jnp.einsum("ne,ne...->n...", jax.nn.softmax(gate(flat)), features)
