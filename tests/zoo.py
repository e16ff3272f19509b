"""THE table of weightings: name → how it is made, where it is from, what it claims.

A weighting enters the library by a factory, an export, one row here with one golden
number and its source, one line in the README and one in the changelog.
"""

from collections.abc import Callable
from typing import NamedTuple

import paretax as px

# Two conflicting gradients, small enough to check every method by hand.
EXAMPLE = ((-4.0, 1.0, 1.0), (6.0, 1.0, 1.0))


class Entry(NamedTuple):
    """One weighting.

    Attributes:
      make: num_tasks -> Weighting; the same hyper-parameters for a prefix of the tasks.
      paper: where the method comes from, as the README's table shows it.
      needs: "nothing", "losses" or "K".
      golden: the direction on EXAMPLE.
      source: where `golden` comes from.
      degree: the direction on c·J is cᵈ times that on J.
      simplex: weights are non-negative and sum to 1.
      agreement: the direction harms no task to first order (where one exists).
      equivariant: permuting the tasks permutes the weights.
      scale_invariant: rescaling one task leaves the direction as it was.
      vanishing: the direction is zero at Pareto-stationary points.
      differentiable: the direction has a finite derivative in J.
    """

    make: Callable[[int], px.Weighting]
    paper: str
    needs: str
    golden: tuple[float, float, float]
    source: str
    degree: int = 1
    simplex: bool = False
    agreement: bool = False
    equivariant: bool = True
    scale_invariant: bool = False
    vanishing: bool = False
    differentiable: bool = True


ZOO: dict[str, Entry] = {
    "every": Entry(
        make=lambda m: px.every(px.nash_mtl(), num_steps=3),
        paper="weights renewed every n steps, "
        "[Navon et al. 2022](https://arxiv.org/abs/2202.01017)",
        needs="K",
        golden=(0.0542, 0.7061, 0.7061),
        source="by hand: the first step is nash_mtl's",
        degree=0,
        agreement=True,
        scale_invariant=True,
    ),
    "fixed": Entry(
        make=lambda m: px.fixed([1.0 / (1 + i) for i in range(m)]),
        paper="linear scalarization with chosen weights",
        needs="nothing",
        golden=(-1.0, 1.5, 1.5),
        source="by hand: g₁ + g₂/2",
        equivariant=False,
    ),
    "mgda": Entry(
        make=lambda m: px.mgda(),
        paper="[Désidéri 2012](https://doi.org/10.1016/j.crma.2012.03.014), "
        "[Sener & Koltun 2018](https://arxiv.org/abs/1810.04650)",
        needs="K",
        golden=(0.0, 1.0, 1.0),
        source="by hand: w = (0.6, 0.4)",
        simplex=True,
        agreement=True,
        vanishing=True,
    ),
    "nash_mtl": Entry(
        make=lambda m: px.nash_mtl(),
        paper="[Navon et al. 2022](https://arxiv.org/abs/2202.01017)",
        needs="K",
        golden=(0.0542, 0.7061, 0.7061),
        source="by hand: the unit vector along g₁/‖g₁‖ + g₂/‖g₂‖",
        degree=0,
        agreement=True,
        scale_invariant=True,
    ),
    "total": Entry(
        make=lambda m: px.total(),
        paper="linear scalarization, the sum",
        needs="nothing",
        golden=(2.0, 2.0, 2.0),
        source="by hand: g₁ + g₂",
    ),
    "uniform": Entry(
        make=lambda m: px.uniform(),
        paper="linear scalarization, the mean",
        needs="nothing",
        golden=(1.0, 1.0, 1.0),
        source="by hand: (g₁ + g₂)/2",
        simplex=True,
    ),
}
