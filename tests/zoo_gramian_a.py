"""Rows of the zoo: projections and closed forms on the Gramian."""

import jax
from zoo_entry import Entry

import paretax as px

_TORCHJD = "TorchJD 0.18 on its published example"

ROWS: dict[str, Entry] = {
    "aligned_mtl": Entry(
        make=lambda m: px.aligned_mtl(),
        paper="[Senushkin et al. 2023](https://arxiv.org/abs/2305.19000)",
        needs="K",
        golden=(0.2133, 0.9673, 0.9673),
        source=_TORCHJD,
        undefined={
            "unbalanced": "the smallest eigenvalue sets the direction's length, and "
            "at 1e-16 of the largest it is what rounding of K leaves",
        },
    ),
    "cagrad": Entry(
        make=lambda m: px.cagrad(),
        paper="[Liu et al. 2021](https://arxiv.org/abs/2110.14048)",
        needs="K",
        golden=(0.3468, 1.1633, 1.1633),
        source=_TORCHJD,
    ),
    "config": Entry(
        make=lambda m: px.config(),
        paper="[Liu et al. 2025](https://arxiv.org/abs/2408.11104)",
        needs="K",
        golden=(0.1588, 2.0706, 2.0706),
        source=_TORCHJD,
        agreement=True,
    ),
    "dual_proj": Entry(
        make=lambda m: px.dual_proj(),
        paper="[Lopez-Paz & Ranzato 2017](https://arxiv.org/abs/1706.08840)",
        needs="K",
        golden=(5 / 9, 10 / 9, 10 / 9),
        source="by hand: v = (11/18, 1/2); TorchJD's ridge of 1e-4 gives 0.5563",
        agreement=True,
    ),
    "fairgrad": Entry(
        make=lambda m: px.fairgrad(alpha=2.0, max_norm=None),
        paper="[Ban & Ji 2024](https://arxiv.org/abs/2402.15638)",
        needs="K",
        golden=(0.0313, 0.7908, 0.7908),
        source="TorchJD 0.18 on its published example, FairGrad(alpha=2)",
        degree=-1 / 3,
        agreement=True,
    ),
    "gradvac": Entry(
        make=lambda m: px.gradvac(key=jax.random.key(0)),
        paper="[Wang et al. 2021](https://arxiv.org/abs/2010.05874)",
        needs="K",
        golden=(0.5848, 3.8012, 3.8012),
        source="TorchJD 0.18's PCGrad, whose step the first one is",
        equivariant=False,
    ),
    "imtl_g": Entry(
        make=lambda m: px.imtl_g(),
        paper="[Liu et al. 2021](https://openreview.net/forum?id=IMPnRXEWpvr)",
        needs="K",
        golden=(0.0767, 1.0, 1.0),
        source=_TORCHJD,
    ),
    "pcgrad": Entry(
        make=lambda m: px.pcgrad(key=jax.random.key(0)),
        paper="[Yu et al. 2020](https://arxiv.org/abs/2001.06782)",
        needs="K",
        golden=(0.5848, 3.8012, 3.8012),
        source=_TORCHJD,
        equivariant=False,
    ),
    "upgrad": Entry(
        make=lambda m: px.upgrad(),
        paper="[Quinton & Rey 2024](https://arxiv.org/abs/2406.16232)",
        needs="K",
        golden=(50 / 171, 325 / 171, 325 / 171),
        source="by hand: half of pcgrad's; TorchJD's ridge of 1e-4 gives 0.2929",
        agreement=True,
    ),
}
