"""THE table of pairs: each method that TorchJD has too, and how the two compare.

`theirs` gets the modules of `sides.load_torch`, so that this file imports no torch.
Where a default differs, the pair passes what makes both the same method; what cannot be
made the same stands in DELIBERATE, and `test_differences.py` has a test of that name.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple
from unittest import mock

import jax
import numpy as np
from peers.sides import on_gram, on_jac, on_losses

import paretax as px
from paretax import coordinatewise

__all__ = ["DELIBERATE", "NOT_A_METHOD", "PAIRS", "RANDOM", "Pair"]


class Pair(NamedTuple):
    """One method on both sides.

    Attributes:
      ours: m -> a weighting, or a transformation that ends the task axis.
      theirs: modules, m -> a function of one step's numbers.
      peers: the names in TorchJD that the row covers.
      compare: "weights", or where they are not unique (K of low rank) the "direction",
        or the "ray" where only its length is a matter of taste.
      tol: the largest relative distance allowed.
      matrices: the kinds of Jacobians, as `sides.MATRICES` names them.
      sizes: the numbers of tasks m.
      count: cases of each kind and size.
      steps: for methods with a memory, consecutive Gramians of a case.
      scale: a factor on the gradients, where theirs adds an absolute number to squares
        and ours does not.
      fails: the part of the cases on which TorchJD's solver may give up.
      solved: numbers, their answers -> where these meet their own condition; what does
        not counts as given up.
    """

    ours: Callable[[int], Any]
    theirs: Callable[[Any, int], Callable]
    peers: tuple[str, ...]
    compare: str = "weights"
    tol: float = 1e-5
    matrices: tuple[str, ...] = ("random",)
    sizes: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8)
    count: int = 40
    steps: int = 1
    scale: float = 1.0
    fails: float = 0.0
    solved: Callable[[dict, Any], Any] | None = None


def chosen(m):
    """Uneven positive numbers that sum to 1."""
    total = m * (m + 1) / 2
    return [(1 + i) / total for i in range(m)]


def exact(t):
    """Their projector with the least ridge that quadprog needs, not 1e-4."""
    return t.linalg.QuadprogProjector(norm_eps=0.0, reg_eps=3e-15)


def exactly(weighting):
    """Theirs with its solver asked for 1e-12 instead of 1e-8."""

    def weigh(gram):
        from cvxpy import Problem

        names = "tol_gap_abs", "tol_gap_rel", "tol_feas"
        solve = functools.partialmethod(Problem.solve, **dict.fromkeys(names, 1e-12))
        with mock.patch.object(Problem, "solve", solve):
            return weighting(gram)

    return weigh


def squared(t, weighting):
    """Krum as in the paper: what stands for distances are their squares."""

    def weigh(gram):
        norms = gram.diagonal()
        square = norms[:, None] + norms[None, :] - 2 * gram
        return weighting(-(square**2) / 2 * (1 - t.torch.eye(len(gram))))

    return weigh


def scalar(name, m, **options):
    """A scalarization as a weighting."""
    return px.from_losses(getattr(px.scalarizations, name)(chosen(m), **options))


def on_logarithms(t, m):
    """Theirs on log(f/n), n = 2, which is the form of STCH in its authors' code."""
    scalarize = t.scalarization.STCH(0.1, t.tensor(chosen(m)))
    return lambda losses: scalarize(t.torch.log(losses / 2.0))


def learned(t, scalarizer):
    """A scalarizer with parameters, and Adam for them as ours has by default."""
    adam = t.optim.Adam(scalarizer.parameters(), lr=0.025)

    def after():
        adam.step()
        adam.zero_grad()

    return on_losses(scalarizer, after=after)


def dwa(scalarizer):
    """An epoch of one step."""
    return on_losses(scalarizer, after=scalarizer.step)


def famo(scalarizer):
    """The losses after a step come with the next one."""

    def before(now):
        if scalarizer._prev_losses is not None:
            scalarizer.update(now["losses_after"])

    return on_losses(scalarizer, before=before)


def harmless(x, weights):
    """No task loses: gᵢᵀd ≥ −1e-8 ‖gᵢ‖ ‖d‖, d as long as rounding at least."""
    gains = np.einsum("...mk,...k->...m", x["gram"], weights)
    norms = np.sqrt(np.einsum("...mm->...m", x["gram"]))
    length = np.sqrt(np.maximum((gains * weights).sum(-1), 0))
    length = np.maximum(length, 1e-6 * norms.max(-1))
    return (gains >= -1e-8 * norms * length[..., None]).all(-1)


def bargained(x, weights):
    """All of w∘(Kw) is one number to 1e-4: the Nash condition, whatever the length."""
    gains = weights * np.einsum("...mk,...k->...m", x["gram"], weights)
    return gains.max(-1) - gains.min(-1) < 1e-4 * gains.max(-1)


EVERY = ("random", "nasty", "decades", "hard")
ANY_SIZE = (2, 3, 4, 5, 6, 7, 8, 20)

PAIRS: dict[str, Pair] = {
    "uniform": Pair(
        lambda m: px.uniform(),
        lambda t, m: on_gram(t.aggregation.MeanWeighting()),
        ("Mean", "MeanWeighting", "scalarization.Mean"),
        matrices=EVERY,
        sizes=(2, 20),
    ),
    "total": Pair(
        lambda m: px.total(),
        lambda t, m: on_gram(t.aggregation.SumWeighting()),
        ("Sum", "SumWeighting", "scalarization.Sum"),
        matrices=EVERY,
        sizes=(2, 20),
    ),
    "fixed": Pair(
        lambda m: px.fixed(chosen(m)),
        lambda t, m: on_gram(t.aggregation.ConstantWeighting(t.tensor(chosen(m)))),
        ("Constant", "ConstantWeighting", "scalarization.Constant"),
        matrices=EVERY,
        sizes=(2, 20),
    ),
    "mgda": Pair(
        lambda m: px.mgda(),
        lambda t, m: on_gram(t.aggregation.MGDAWeighting(epsilon=1e-12, max_iters=3)),
        ("MGDA", "MGDAWeighting"),
        compare="direction",
        matrices=EVERY,
        sizes=(2,),
        count=200,
    ),
    "nash_mtl": Pair(
        lambda m: px.nash_mtl(max_norm=0.1),
        lambda t, m: on_jac(t.aggregation.NashMTL(n_tasks=m, max_norm=0.1).weighting),
        ("NashMTL",),
        compare="direction",
        sizes=(2, 3, 5, 8),
        count=20,
        fails=0.1,
        solved=bargained,
    ),
    "nash_mtl, the procedure": Pair(
        lambda m: px.nash_mtl(max_norm=None, concave_convex_steps=20, update_every=2),
        lambda t, m: on_jac(
            t.aggregation.NashMTL(m, max_norm=0.0, update_weights_every=2).weighting
        ),
        ("NashMTL",),
        compare="ray",
        sizes=(3,),
        count=10,
        steps=4,
    ),
    "upgrad": Pair(
        lambda m: px.upgrad(),
        lambda t, m: on_gram(t.aggregation.UPGradWeighting(projector=exact(t))),
        ("UPGrad", "UPGradWeighting"),
        sizes=(2, 3, 5, 8, 20),
    ),
    "upgrad, a preference": Pair(
        lambda m: px.upgrad(preference=chosen(m)),
        lambda t, m: on_gram(
            t.aggregation.UPGradWeighting(t.tensor(chosen(m)), projector=exact(t))
        ),
        ("UPGrad", "UPGradWeighting"),
        compare="direction",
        matrices=("nasty",),
        sizes=(2, 3, 8),
        fails=0.25,
        solved=harmless,
    ),
    "dual_proj": Pair(
        lambda m: px.dual_proj(),
        lambda t, m: on_gram(t.aggregation.DualProjWeighting(projector=exact(t))),
        ("DualProj", "DualProjWeighting"),
        sizes=(2, 3, 8, 20),
    ),
    "dual_proj, a preference": Pair(
        lambda m: px.dual_proj(preference=chosen(m)),
        lambda t, m: on_gram(
            t.aggregation.DualProjWeighting(t.tensor(chosen(m)), projector=exact(t))
        ),
        ("DualProj", "DualProjWeighting"),
        compare="direction",
        matrices=("nasty",),
        sizes=(2, 3, 8),
        fails=0.25,
        solved=harmless,
    ),
    "cagrad": Pair(
        lambda m: px.cagrad(c=0.4),
        lambda t, m: on_gram(exactly(t.aggregation.CAGradWeighting(0.4, 1e-9))),
        ("CAGrad", "CAGradWeighting"),
        compare="direction",
        tol=2e-5,  # what Clarabel gives when it is asked for 1e-12
        matrices=("random", "nasty"),
        sizes=(2, 3, 6),
        count=16,
    ),
    "config": Pair(
        lambda m: px.config(),
        lambda t, m: on_jac(t.aggregation.ConFIG()),
        ("ConFIG",),
        compare="direction",
        matrices=("random", "nasty", "decades"),
        sizes=(3, 5, 8, 20),
    ),
    "config, a preference": Pair(
        lambda m: px.config(preference=chosen(m)),
        lambda t, m: on_jac(t.aggregation.ConFIG(t.tensor(chosen(m)))),
        ("ConFIG",),
        compare="direction",
        matrices=("random",),
        sizes=(3, 8),
    ),
    "fairgrad": Pair(
        lambda m: px.fairgrad(alpha=2.0, max_norm=None),
        lambda t, m: on_gram(t.aggregation.FairGradWeighting(alpha=2.0)),
        ("FairGrad", "FairGradWeighting"),
        sizes=(2, 3, 5, 8, 20),
        count=30,
    ),
    "imtl_g": Pair(
        lambda m: px.imtl_g(),
        lambda t, m: on_gram(t.aggregation.IMTLGWeighting()),
        ("IMTLG", "IMTLGWeighting"),
        sizes=ANY_SIZE,
    ),
    "aligned_mtl, min": Pair(
        lambda m: px.aligned_mtl(scale="min"),
        lambda t, m: on_gram(t.aggregation.AlignedMTLWeighting(scale_mode="min")),
        ("AlignedMTL", "AlignedMTLWeighting"),
        matrices=(
            "random",
            "nasty",
        ),
        sizes=ANY_SIZE,
    ),
    "aligned_mtl, median": Pair(
        lambda m: px.aligned_mtl(scale="median"),
        lambda t, m: on_gram(t.aggregation.AlignedMTLWeighting(scale_mode="median")),
        ("AlignedMTL", "AlignedMTLWeighting"),
        matrices=(
            "random",
            "nasty",
        ),
        sizes=(3, 8),
    ),
    "aligned_mtl, rmse": Pair(
        lambda m: px.aligned_mtl(scale="rmse"),
        lambda t, m: on_gram(t.aggregation.AlignedMTLWeighting(scale_mode="rmse")),
        ("AlignedMTL", "AlignedMTLWeighting"),
        matrices=(
            "random",
            "nasty",
        ),
        sizes=(3, 8),
    ),
    "aligned_mtl, a preference": Pair(
        lambda m: px.aligned_mtl(preference=chosen(m)),
        lambda t, m: on_gram(t.aggregation.AlignedMTLWeighting(t.tensor(chosen(m)))),
        ("AlignedMTL", "AlignedMTLWeighting"),
        sizes=(3, 8),
    ),
    "krum": Pair(
        lambda m: px.krum(num_byzantine=m // 4, num_selected=1 + m // 3),
        lambda t, m: on_gram(
            squared(t, t.aggregation.KrumWeighting(m // 4, 1 + m // 3))
        ),
        ("Krum", "KrumWeighting"),
        sizes=(5, 6, 7, 8, 20),
    ),
    "krum, one neighbour": Pair(
        lambda m: px.krum(num_byzantine=m - 3, num_selected=2),
        lambda t, m: on_gram(t.aggregation.KrumWeighting(m - 3, 2)),
        ("Krum", "KrumWeighting"),
        matrices=("random", "nasty", "decades"),
        sizes=(3, 4, 5, 8, 20),
    ),
    "pcd": Pair(
        lambda m: px.pcd(tau=0.02, beta=0.9),
        lambda t, m: on_gram(t.aggregation.PCDWeighting(tau=0.02, beta=0.9, eps=0.0)),
        ("PCD", "PCDWeighting"),
        compare="direction",
        tol=3e-5,  # where an interior point ends, at m = 20
        sizes=(2, 3, 8, 20),
        steps=4,
    ),
    "pcd, uneven norms": Pair(
        lambda m: px.pcd(tau=np.array([0.5 / (1 + i) for i in range(m)])),
        lambda t, m: on_gram(
            t.aggregation.PCDWeighting(
                tau=t.tensor([0.5 / (1 + i) for i in range(1, m)]), eps=0.0
            )
        ),
        ("PCD", "PCDWeighting"),
        compare="direction",
        matrices=("decades",),
        sizes=(5,),
    ),
    "smooth": Pair(
        lambda m: px.smooth(px.imtl_g(), decay=0.9),
        lambda t, m: on_gram(
            t.aggregation.CRMOGMWeighting(t.aggregation.IMTLGWeighting(), alpha=0.9)
        ),
        ("CRMOGMWeighting",),
        sizes=(2, 5),
        steps=5,
    ),
    "modo": Pair(
        lambda m: px.modo(step_size=0.1, ridge=0.1),
        lambda t, m: on_gram(t.aggregation.MoDoWeighting(0.1, 0.1), "cross_gram"),
        ("MoDoWeighting",),
        sizes=(2, 5, 8),
        steps=5,
    ),
    "sdmgrad": Pair(
        lambda m: px.sdmgrad(),
        lambda t, m: on_gram(t.aggregation.SDMGradWeighting(), "cross_gram"),
        ("SDMGradWeighting",),
        sizes=(2, 5, 8),
        steps=2,
        scale=1e4,
    ),
    "sdmgrad, short steps and a preference": Pair(
        lambda m: px.sdmgrad(
            step_size=0.2, momentum=0.8, regularization=0.6, preference=chosen(m)
        ),
        lambda t, m: on_gram(
            t.aggregation.SDMGradWeighting(0.2, 0.8, 20, 0.6, t.tensor(chosen(m))),
            "cross_gram",
        ),
        ("SDMGradWeighting",),
        sizes=(2, 5, 8),
        steps=5,
        scale=1e4,
    ),
    "pcgrad": Pair(
        lambda m: px.pcgrad(key=jax.random.key(0)),
        lambda t, m: on_gram(t.aggregation.PCGradWeighting()),
        ("PCGrad", "PCGradWeighting"),
        matrices=("random", "nasty", "decades"),
        sizes=(2,),
        count=100,
    ),
    "gradvac": Pair(
        lambda m: px.gradvac(key=jax.random.key(0), decay=0.5),
        lambda t, m: on_gram(t.aggregation.GradVacWeighting(beta=0.5, eps=0.0)),
        ("GradVac", "GradVacWeighting"),
        matrices=("random", "nasty"),
        sizes=(2,),
        count=40,
        steps=5,
    ),
    "trimmed_mean": Pair(
        lambda m: coordinatewise.trimmed_mean(m, trim=(m - 1) // 2),
        lambda t, m: on_jac(t.aggregation.TrimmedMean((m - 1) // 2)),
        ("TrimmedMean",),
        compare="direction",
        matrices=EVERY,
        sizes=(2, 3, 5, 8),
    ),
    "excess_mtl": Pair(
        lambda m: coordinatewise.excess_mtl(m),
        lambda t, m: on_jac(t.aggregation.ExcessMTL(n_warmup_steps=1)),
        ("ExcessMTL", "ExcessMTLWeighting"),
        compare="direction",
        sizes=(2, 5, 8),
        steps=5,
        scale=1e4,
    ),
    "geometric_mean": Pair(
        lambda m: px.geometric_mean(),
        lambda t, m: on_losses(t.scalarization.GeometricMean()),
        ("scalarization.GeometricMean",),
        sizes=(2, 5, 8),
    ),
    "uncertainty": Pair(
        lambda m: px.uncertainty(),
        lambda t, m: learned(t, t.scalarization.UW(m)),
        ("scalarization.UW",),
        sizes=(2, 5, 8),
        steps=6,
    ),
    "imtl_l": Pair(
        lambda m: px.imtl_l(),
        lambda t, m: learned(t, t.scalarization.IMTLL(m)),
        ("scalarization.IMTLL",),
        sizes=(2, 5, 8),
        steps=6,
    ),
    "dwa": Pair(
        lambda m: px.dwa(),
        lambda t, m: dwa(t.scalarization.DWA()),
        ("scalarization.DWA",),
        sizes=(2, 5, 8),
        steps=6,
    ),
    "famo": Pair(
        lambda m: px.famo(ideal=-0.5),
        lambda t, m: famo(t.scalarization.FAMO(m, t.tensor([-0.5] * m))),
        ("scalarization.FAMO",),
        sizes=(2, 5, 8),
        steps=6,
    ),
    "pbi": Pair(
        lambda m: scalar("pbi", m, penalty=5.0, ideal=-1.0),
        lambda t, m: on_losses(
            t.scalarization.PBI(5.0, t.tensor(chosen(m)), t.tensor([-1.0] * m))
        ),
        ("scalarization.PBI",),
        sizes=(2, 5, 8),
    ),
    "cosmos": Pair(
        lambda m: scalar("cosmos", m, penalty=2.0),
        lambda t, m: on_losses(t.scalarization.COSMOS(2.0, t.tensor(chosen(m)))),
        ("scalarization.COSMOS",),
        sizes=(2, 5, 8),
    ),
    "smooth_tchebycheff": Pair(
        lambda m: scalar("smooth_tchebycheff", m, temperature=0.1, ideal=-1.0),
        lambda t, m: on_losses(
            t.scalarization.STCH(0.1, t.tensor(chosen(m)), t.tensor([-1.0] * m))
        ),
        ("scalarization.STCH",),
        sizes=(2, 5, 8),
    ),
    "log_smooth_tchebycheff": Pair(
        lambda m: scalar("log_smooth_tchebycheff", m, temperature=0.1, nadir=2.0),
        lambda t, m: on_losses(on_logarithms(t, m)),
        ("scalarization.STCH",),
        sizes=(2, 5, 8),
    ),
}

DELIBERATE = {
    "mgda_is_the_shortest_vector": "theirs takes Frank-Wolfe steps and stops at 100 of "
    "them or at a step of 1e-3; ours is exact, so the two agree for two tasks only",
    "nash_mtl_solves_its_equation_on_uneven_norms": "theirs takes at most 20 steps of "
    "the concave-convex procedure on K/‖K‖, which fails where norms span decades",
    "upgrad_and_dual_proj_have_no_ridge": "theirs adds 1e-4 to the diagonal of K/tr K "
    "by default, so its direction may harm small tasks; ours solves the problem itself",
    "cagrad_of_small_gradients_is_not_zero": "theirs gives zero where tr K < 1e-4 or "
    "‖g_w‖ is small by an absolute number; ours depends on no unit",
    "krum_sums_squared_distances": "theirs sums distances to the nearest neighbours, "
    "the paper and ours squared distances, which can choose another task",
    "excess_mtl_begins_with_its_own_baseline": "without a warm-up theirs puts the "
    "first excess in the exponent, so the losses' units decide; ours divides by it",
    "sdmgrad_and_pcd_know_no_unit": "theirs adds 1e-8 to squared lengths, which "
    "changes what it does with gradients shorter than 1e-4; ours adds nothing",
}

# Compared in `test_random.py`: over all random numbers, not one by one.
RANDOM = {
    "pcgrad": ("PCGrad", "PCGradWeighting"),
    "gradvac": ("GradVac", "GradVacWeighting"),
    "graddrop": ("GradDrop",),
    "rgw": ("Random", "RandomWeighting"),
    "rlw": ("scalarization.Random",),
}

NOT_A_METHOD = {
    "Aggregator",
    "GramianWeightedAggregator",
    "WeightedAggregator",
    "Weighting",
    "scalarization.Scalarizer",
}
