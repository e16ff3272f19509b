"""Rows of the zoo: weightings on losses, one backward pass a step."""

import jax
from zoo_entry import Entry

import paretax as px

__all__ = ["ROWS"]

ROWS: dict[str, Entry] = {
    "dwa": Entry(
        make=lambda m: px.dwa(),
        paper="[Liu et al. 2019](https://arxiv.org/abs/1803.10704)",
        needs="losses",
        golden=(2.0, 2.0, 2.0),
        source="by hand: the first two steps are the sum",
        linear=True,
    ),
    "famo": Entry(
        make=lambda m: px.famo(),
        paper="[Liu et al. 2023](https://arxiv.org/abs/2306.03792)",
        needs="losses",
        golden=(-0.666667, 1.0, 1.0),
        source="by hand: z is even, so w ∝ 1/L = (2/3, 1/3)",
        simplex=True,
        linear=True,
    ),
    "geometric_mean": Entry(
        make=lambda m: px.geometric_mean(),
        paper="GLS, [Chennupati et al. 2019](https://arxiv.org/abs/1904.08492)",
        needs="losses",
        golden=(-0.707107, 1.06066, 1.06066),
        source="by hand: w = √2/(2L)",
        linear=True,
    ),
    "go4align": Entry(
        make=lambda m: px.go4align(num_groups=2),
        paper="[Shen et al. 2024](https://arxiv.org/abs/2404.06486)",
        needs="losses",
        golden=(-1.500525, 2.250038, 2.250038),
        source="by hand: two groups of one, w = 3p/L, p₁ = 1/(1 + e^(−0.0001))",
        linear=True,
    ),
    "igb": Entry(
        make=lambda m: px.igb(),
        paper="IGBv1, [Dai et al. 2023](https://arxiv.org/abs/2307.15429)",
        needs="losses",
        golden=(-1.0, 1.5, 1.5),
        source="by hand: no base yet, so w = 1/L",
        linear=True,
    ),
    "imtl_l": Entry(
        make=lambda m: px.imtl_l(),
        paper="[Liu et al. 2021](https://openreview.net/forum?id=IMPnRXEWpvr)",
        needs="losses",
        golden=(2.0, 2.0, 2.0),
        source="by hand: s = 0, so w = 1",
        linear=True,
    ),
    "ldc_mtl": Entry(
        make=lambda m: px.ldc_mtl(),
        paper="[Xiao et al. 2025](https://arxiv.org/abs/2502.08585)",
        needs="losses",
        golden=(1.073106, 1.0, 1.0),
        source="by hand: w = 1/2 ∓ 0.01σ(1)",
        linear=True,
        equivariant=False,
    ),
    "relobralo": Entry(
        make=lambda m: px.relobralo(key=jax.random.key(0)),
        paper="[Bischof & Kraus 2021](https://arxiv.org/abs/2110.09813)",
        needs="losses",
        golden=(2.0, 2.0, 2.0),
        source="by hand: the first step is the sum",
        linear=True,
    ),
    "rlw": Entry(
        make=lambda m: px.rlw(key=jax.random.key(0)),
        paper="[Lin et al. 2022](https://arxiv.org/abs/2111.10603)",
        needs="nothing",
        golden=(-2.2267, 1.0, 1.0),
        source="by hand: rgw's weights, the same draw",
        simplex=True,
        linear=True,
        equivariant=False,
    ),
    "scale_invariant": Entry(
        make=lambda m: px.scale_invariant(),
        paper="SI, [Navon et al. 2022](https://arxiv.org/abs/2202.01017)",
        needs="losses",
        golden=(-1.0, 1.5, 1.5),
        source="by hand: w = 1/L",
        linear=True,
    ),
    "softadapt": Entry(
        make=lambda m: px.softadapt(),
        paper="[Heydari et al. 2019](https://arxiv.org/abs/1912.12355)",
        needs="losses",
        golden=(1.0, 1.0, 1.0),
        source="by hand: no change yet, so w = 1/m",
        simplex=True,
        linear=True,
    ),
    "uncertainty": Entry(
        make=lambda m: px.uncertainty(),
        paper="UW, [Kendall et al. 2018](https://arxiv.org/abs/1705.07115)",
        needs="losses",
        golden=(1.0, 1.0, 1.0),
        source="by hand: s = 0, so w = 1/2",
        linear=True,
    ),
}
