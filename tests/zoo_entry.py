"""One row of the zoo: how a combiner is made, where it is from, what it claims."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import optax

import paretax as px

# Two conflicting gradients, small enough to check every method by hand.
EXAMPLE = ((-4.0, 1.0, 1.0), (6.0, 1.0, 1.0))


class Entry(NamedTuple):
    """One weighting, or one transformation that ends the task axis.

    Attributes:
      make: num_tasks -> a Weighting, or an optax transformation from stacked gradients
        to one; the same hyper-parameters for a prefix of the tasks.
      paper: where the method comes from, as the README's table shows it.
      needs: "nothing", "losses", "K", "J", or "J2" (the products of two more batches).
      golden: the direction of the first step on EXAMPLE, with the losses (1, 2).
      source: where `golden` comes from.
      passes: backward passes a step, where `needs` does not say it.
      degree: the direction on c·J is cᵈ times that on J.
      simplex: weights are non-negative and sum to 1.
      agreement: the direction harms no task to first order (where one exists).
      equivariant: permuting the tasks permutes the weights.
      scale_invariant: rescaling one task leaves the direction as it was.
      vanishing: the direction is zero at Pareto-stationary points.
      linear: the direction is linear in J while the losses stay as they are.
      differentiable: the direction has a finite derivative in J.
      exempt: law -> the written reason why this row cannot obey it; the names are
        those in `test_conformance.py` and nothing else may be skipped.
      undefined: hard case -> the written reason why the method has no single answer
        there, so that two ways to it need not agree; all other laws hold there too.
    """

    make: Callable[[int], px.Weighting | optax.GradientTransformation]
    paper: str
    needs: str
    golden: tuple[float, float, float]
    source: str
    passes: str = ""
    degree: float = 1
    simplex: bool = False
    agreement: bool = False
    equivariant: bool = True
    scale_invariant: bool = False
    vanishing: bool = False
    linear: bool = False
    differentiable: bool = True
    exempt: Mapping[str, str] = MappingProxyType({})
    undefined: Mapping[str, str] = MappingProxyType({})
