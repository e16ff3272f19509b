"""Rows of what reads J itself, or two more batches, and of the recipes."""

import jax
import recipes
from zoo_entry import Entry

import paretax as px
from paretax import coordinatewise

__all__ = ["ROWS"]

UNITS = {
    "homogeneous": "the step size has the unit 1/‖gradient‖², so J's scale changes "
    "how far the weights move"
}


PADDED = "the mean over coordinates counts the zeros that the suite pads with"


def one_layer(tree):
    """All leaves in one group: the suite's gradients are one bare array."""
    return jax.tree.map(lambda leaf: "all", tree)


ROWS: dict[str, Entry] = {
    "db_mtl": Entry(
        make=lambda m: px.db_mtl(),
        paper="[Lin et al. 2023](https://arxiv.org/abs/2308.12029)",
        needs="K",
        golden=(0.1881, 2.4530, 2.4530),
        source="by hand: √(38/18) g₁ + g₂",
    ),
    "db_mtl + ema": Entry(
        make=recipes.db_mtl_recipe,
        paper="[Lin et al. 2023](https://arxiv.org/abs/2308.12029)",
        needs="J",
        golden=(0.1881, 2.4530, 2.4530),
        source="by hand: db_mtl's; the first average is the gradient",
    ),
    "excess_mtl": Entry(
        make=lambda m: coordinatewise.excess_mtl(m),
        paper="[He et al. 2024](https://arxiv.org/abs/2402.02009)",
        needs="J",
        golden=(1.0, 1.0, 1.0),
        source="by hand: the first step's weights are 1/m",
        simplex=True,
    ),
    "graddrop": Entry(
        make=lambda m: coordinatewise.graddrop(m, key=jax.random.key(0)),
        paper="[Chen et al. 2020](https://arxiv.org/abs/2010.06808)",
        needs="J",
        golden=(6.0, 2.0, 2.0),
        source="by hand: 6 or −4 where they conflict, by the key; else g₁ + g₂",
    ),
    "gradvac per layer": Entry(
        make=lambda m: recipes.gradvac_per_layer(
            m, ("all",), one_layer, key=jax.random.key(0)
        ),
        paper="[Wang et al. 2021](https://arxiv.org/abs/2010.05874)",
        needs="K",
        golden=(0.5848, 3.8012, 3.8012),
        source="by hand: targets of 0, so PCGrad's",
        equivariant=False,
    ),
    "lr_annealing": Entry(
        make=lambda m: coordinatewise.lr_annealing(m),
        paper="[Wang et al. 2021](https://arxiv.org/abs/2001.04536)",
        needs="J",
        golden=(4.4, 2.4, 2.4),
        source="by hand: λ = 0.9 + 0.1 · 4/0.8 = 1.4, the mean over the suite's ten "
        "coordinates",
        equivariant=False,
        exempt={"jit and vmap": PADDED, "bfloat16": PADDED},
    ),
    "moco": Entry(
        make=lambda m: px.moco(step_size=0.05),
        paper="[Fernando et al. 2023](https://arxiv.org/abs/2210.12624)",
        needs="K",
        golden=(-1.5, 1.0, 1.0),
        source="by hand: Π((0.5, 0.5) − 0.05 (−2, 8)) = (0.75, 0.25)",
        simplex=True,
        exempt=UNITS,
    ),
    "moco + ema": Entry(
        make=lambda m: recipes.moco_recipe(m, step_size=0.05),
        paper="[Fernando et al. 2023](https://arxiv.org/abs/2210.12624)",
        needs="J",
        golden=(0.1875, 0.5, 0.5),
        source="by hand: Y = J/2, Π((0.5, 0.5) − 0.05 (−0.5, 2)) = (0.5625, 0.4375)",
        simplex=True,
        exempt=UNITS,
    ),
    "modo": Entry(
        make=lambda m: px.modo(step_size=0.05),
        paper="[Chen et al. 2023](https://arxiv.org/abs/2305.20057)",
        needs="J2",
        golden=(-1.5, 1.0, 1.0),
        source="by hand: Π((0.5, 0.5) − 0.05 (−2, 8)) = (0.75, 0.25)",
        simplex=True,
        exempt=UNITS,
    ),
    "pcgrad per layer": Entry(
        make=lambda m: recipes.pcgrad_per_layer(
            m, ("all",), one_layer, key=jax.random.key(0)
        ),
        paper="[Yu et al. 2020](https://arxiv.org/abs/2001.06782)",
        needs="K",
        golden=(0.5848, 3.8012, 3.8012),
        source="by hand: g₁ + (22/38) g₂ + g₂ + (22/18) g₁, one layer",
        equivariant=False,
    ),
    "sdmgrad": Entry(
        make=lambda m: px.sdmgrad(step_size=0.02),
        paper="[Xiao et al. 2023](https://arxiv.org/abs/2305.18409)",
        needs="J2",
        golden=(0.2063, 1.0, 1.0),
        source="computed: TorchJD 0.18's SDMGradWeighting(lr=0.02) on J Jᵀ, in float64",
        simplex=True,
    ),
    "trimmed_mean": Entry(
        make=lambda m: coordinatewise.trimmed_mean(m, trim=min(1, (m - 1) // 2)),
        paper="[Yin et al. 2018](https://arxiv.org/abs/1803.01498)",
        needs="J",
        golden=(1.0, 1.0, 1.0),
        source="by hand: nothing is trimmed of two, the mean",
    ),
}
