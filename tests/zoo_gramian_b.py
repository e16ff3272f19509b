"""Rows of the zoo: the second half of the weightings on the Gramian, and wrappers."""

import jax
from zoo_entry import Entry

import paretax as px


def falling(num_tasks):
    """A preference ∝ 1/(1 + i): the same ratios for a prefix of the tasks."""
    shares = [1.0 / (1 + i) for i in range(num_tasks)]
    return [share / sum(shares) for share in shares]


NASH = "by hand: the unit vector along g₁/‖g₁‖ + g₂/‖g₂‖, nash_mtl's"

ROWS: dict[str, Entry] = {
    "clip_norm": Entry(
        make=lambda m: px.clip_norm(px.nash_mtl(max_norm=None), max_norm=1.0),
        paper="a bound on the direction's length, "
        "[Navon et al. 2022](https://arxiv.org/abs/2202.01017)",
        needs="K",
        golden=(0.0542, 0.7061, 0.7061),
        source=NASH,
        degree=0,
        agreement=True,
        scale_invariant=True,
    ),
    "gradnorm": Entry(
        make=lambda m: px.gradnorm(),
        paper="[Chen et al. 2018](https://arxiv.org/abs/1711.02257)",
        needs="K",
        golden=(2.0, 2.0, 2.0),
        source="by hand: the first step has the weights 1",
    ),
    "krum": Entry(
        make=lambda m: px.krum(),
        paper="[Blanchard et al. 2017](https://papers.nips.cc/paper/2017/hash/"
        "f4b9ec30ad9f68f89b29639786cb62ef-Abstract.html)",
        needs="K",
        golden=(1.0, 1.0, 1.0),
        source="by hand: two tasks have the same score and share the weight",
        simplex=True,
    ),
    "normalize": Entry(
        make=lambda m: px.normalize(px.mgda()),
        paper="unit gradients or losses for any weighting, "
        "[Sener & Koltun 2018](https://arxiv.org/abs/1810.04650)",
        needs="K",
        golden=(0.0153, 0.1990, 0.1990),
        source="by hand: half of g₁/√18 + g₂/√38",
        degree=0,
        agreement=True,
        scale_invariant=True,
        vanishing=True,
    ),
    "pcd": Entry(
        make=lambda m: px.pcd(),
        paper="[Varam & AlHajri 2026](https://arxiv.org/abs/2606.29521)",
        needs="K",
        golden=(-0.8200, 2.9434, 2.9434),
        source="TorchJD 0.18 on its published example; by hand: along g₁/√18 + "
        "(0.02 + 22/√684) g₂/√38, of length √18",
        equivariant=False,
    ),
    "prefer": Entry(
        make=lambda m: px.prefer(px.mgda(), preference=falling(m)),
        paper="preferences for any weighting: task i's loss times m·pᵢ",
        needs="K",
        golden=(0.1347, 0.9428, 0.9428),
        source="by hand: (40, 280, 280)/297, the shortest of 4/3 g₁ and 2/3 g₂",
        agreement=True,
        equivariant=False,
        vanishing=True,
    ),
    "rgw": Entry(
        make=lambda m: px.rgw(key=jax.random.key(0)),
        paper="[Lin et al. 2022](https://arxiv.org/abs/2111.10603)",
        needs="nothing",
        golden=(-2.2267, 1.0, 1.0),
        source="by hand: softmax of the key's two normals, 0.19891 and −1.33563",
        simplex=True,
        equivariant=False,
        linear=True,
    ),
    "smooth": Entry(
        make=lambda m: px.smooth(px.mgda()),
        paper="averaged weights (CR-MOGM), [Zhou et al. 2022](https://papers.neurips.cc/"
        "paper_files/paper/2022/hash/"
        "f91bd64a3620aad8e70a27ad9cb3ca57-Abstract-Conference.html)",
        needs="K",
        golden=(0.0, 1.0, 1.0),
        source="by hand: the first step is mgda's",
        simplex=True,
        agreement=True,
        vanishing=True,
    ),
}
