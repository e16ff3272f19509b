"""THE table of combiners: name → how it is made, where it is from, what it claims.

A combiner enters the library by a factory, an export, one row in one of the files that
are gathered here, with one golden number and its source, and one line in the changelog;
`python tests/method_table.py` then writes the README's line.
"""

import jax.numpy as jnp
import optax
from zoo_entry import EXAMPLE, Entry
from zoo_gramian_a import ROWS as GRAMIAN_A
from zoo_gramian_b import ROWS as GRAMIAN_B
from zoo_jacobian import ROWS as JACOBIAN
from zoo_losses import ROWS as LOSSES
from zoo_scalarizations import ROWS as SCALARIZATIONS

import paretax as px

__all__ = ["EXAMPLE", "WEIGHTINGS", "ZOO", "Entry", "extras", "transformation"]

PARALLEL = {
    "rank one": "of unit gradients that coincide any share is shortest, and with it "
    "the direction's length lies anywhere between the gradients' lengths",
}

CORE: dict[str, Entry] = {
    "edm": Entry(
        make=lambda m: px.edm(),
        paper="[Katrutsa et al. 2020](https://arxiv.org/abs/2007.06937)",
        needs="K",
        golden=(0.0767, 1.0, 1.0),
        source="by hand: w = (n₂, n₁)/(n₁ + n₂), n = (√18, √38)",
        simplex=True,
        agreement=True,
        vanishing=True,
        undefined=PARALLEL,
    ),
    "every": Entry(
        make=lambda m: px.every(px.config(), num_steps=3),
        paper="weights renewed every n steps, "
        "[Navon et al. 2022](https://arxiv.org/abs/2202.01017)",
        needs="K",
        golden=(0.1588, 2.0706, 2.0706),
        source="by hand: the first step is config's",
        agreement=True,
    ),
    "fixed": Entry(
        make=lambda m: px.fixed([1.0 / (1 + i) for i in range(m)]),
        paper="linear scalarization with chosen weights",
        needs="nothing",
        golden=(-1.0, 1.5, 1.5),
        source="by hand: g₁ + g₂/2",
        linear=True,
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
    "nash_mtl by steps": Entry(
        make=lambda m: px.nash_mtl(concave_convex_steps=20, update_every=2),
        paper="the concave-convex procedure of "
        "[Navon et al. 2022](https://arxiv.org/abs/2202.01017)",
        needs="K",
        golden=(0.0542, 0.7061, 0.7061),
        source="by hand: at two tasks the procedure ends at the bargain",
        degree=0,
        differentiable=False,
        exempt={
            "homogeneous": "the procedure starts from weights of 1 whatever the scale, "
            "and where it comes to rest off the bargain depends on that",
        },
    ),
    "task_tensioner": Entry(
        make=lambda m: px.task_tensioner(),
        paper="[Mizuno Nakamura et al. 2022](https://arxiv.org/abs/2204.06698)",
        needs="K",
        golden=(0.0767, 1.0, 1.0),
        source="by hand: the first ten steps are edm's",
        undefined=PARALLEL,
    ),
    "total": Entry(
        make=lambda m: px.total(),
        paper="linear scalarization, the sum",
        needs="nothing",
        golden=(2.0, 2.0, 2.0),
        source="by hand: g₁ + g₂",
        linear=True,
    ),
    "uniform": Entry(
        make=lambda m: px.uniform(),
        paper="linear scalarization, the mean",
        needs="nothing",
        golden=(1.0, 1.0, 1.0),
        source="by hand: (g₁ + g₂)/2",
        linear=True,
        simplex=True,
    ),
}

ZOO: dict[str, Entry] = dict(
    sorted((CORE | GRAMIAN_A | GRAMIAN_B | JACOBIAN | LOSSES | SCALARIZATIONS).items())
)


def transformation(name: str, num_tasks: int) -> optax.GradientTransformationExtraArgs:
    """The row as what ends the task axis in an optax chain."""
    made = ZOO[name].make(num_tasks)
    if isinstance(made, px.Weighting):
        return px.combine(made, num_tasks)
    return optax.with_extra_args_support(made)


def extras(jac, losses):
    """Whatever a combiner may ask for at a step."""
    return {
        "losses": losses,
        "losses_after": 0.9 * jnp.asarray(losses),
        "cross_gram": px.cross_gramian(jac, jac),
    }


WEIGHTINGS = [name for name in ZOO if isinstance(ZOO[name].make(2), px.Weighting)]
