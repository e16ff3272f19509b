"""The rows of combiners.py: every combiner with its defaults, and TorchJD's if any.

`theirs` gets the modules of `load_torch`, so that this file imports no torch.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax

import paretax as px
from paretax import coordinatewise, weightings

__all__ = ["ROWS", "Row", "load_torch", "missing"]


class Row(NamedTuple):
    """One combiner.

    Attributes:
      ours: m -> a weighting, or a transformation that ends the task axis.
      theirs: modules, m -> a function of the same numbers; None where there is no peer.
      needs: what both get: "gram", "cross" (a product of two Jacobians), "jac" (m rows
        of n columns: theirs takes no Gramian), "losses", "losses_after".
      solver: what theirs does on the host: a solver, or a Python loop over tasks.
      least: the fewest tasks that it is made for.
    """

    ours: Callable[[int], Any]
    theirs: Callable[[Any, int], Callable] | None = None
    needs: tuple[str, ...] = ("gram",)
    solver: str = ""
    least: int = 1


def load_torch():
    """The modules that the rows use, on one thread."""
    import torch
    import torchjd.aggregation
    import torchjd.scalarization

    torch.set_num_threads(1)
    return SimpleNamespace(
        torch=torch, of=torchjd.aggregation, on_losses=torchjd.scalarization
    )


def spread(m):
    """Uneven positive numbers that sum to 1."""
    return [2 * (1 + i) / (m * (m + 1)) for i in range(m)]


def weigh(made):
    """Their weights from the one thing that they get."""
    return lambda what: made(what)


def differentiate(scalarizer, after=None):
    """Their weights on losses: the derivative that their backward pass takes."""

    def step(losses, *more):
        losses = losses.detach().requires_grad_()
        scalarizer(losses).backward()
        if after is not None:
            after(*more)
        return losses.grad

    return step


def learned(t, scalarizer):
    """Theirs with the optimizer that its parameters need, as ours has its own."""
    optimizer = t.torch.optim.SGD(scalarizer.parameters(), lr=0.025)

    def after():
        optimizer.step()
        optimizer.zero_grad()

    return differentiate(scalarizer, after)


def dwa(t):
    scalarizer = t.on_losses.DWA()
    return differentiate(scalarizer, scalarizer.step)


def famo(t, m):
    scalarizer = t.on_losses.FAMO(m)
    return differentiate(scalarizer, scalarizer.update)


KEY = jax.random.key(0)
LOSSES = ("losses",)

ROWS: dict[str, Row] = {
    "aligned_mtl": Row(
        lambda m: px.aligned_mtl(), lambda t, m: weigh(t.of.AlignedMTLWeighting())
    ),
    "cagrad": Row(
        lambda m: px.cagrad(c=0.4),
        lambda t, m: weigh(t.of.CAGradWeighting(c=0.4)),
        solver="cvxpy, Clarabel",
    ),
    "config": Row(
        lambda m: px.combine(px.config(), m),
        lambda t, m: weigh(t.of.ConFIG()),
        needs=("jac",),
    ),
    "dual_proj": Row(
        lambda m: px.dual_proj(),
        lambda t, m: weigh(t.of.DualProjWeighting()),
        solver="quadprog",
    ),
    "dwa": Row(lambda m: px.dwa(), lambda t, m: dwa(t), LOSSES),
    "excess_mtl": Row(
        lambda m: coordinatewise.excess_mtl(m),
        lambda t, m: weigh(t.of.ExcessMTL()),
        needs=("jac",),
    ),
    "fairgrad": Row(
        lambda m: px.fairgrad(alpha=2.0),
        lambda t, m: weigh(t.of.FairGradWeighting(alpha=2.0)),
        solver="scipy least_squares",
    ),
    "famo": Row(
        lambda m: px.famo(), lambda t, m: famo(t, m), ("losses", "losses_after")
    ),
    "fixed": Row(
        lambda m: px.fixed(spread(m)),
        lambda t, m: weigh(t.of.ConstantWeighting(t.torch.tensor(spread(m)))),
    ),
    "geometric_mean": Row(
        lambda m: px.geometric_mean(),
        lambda t, m: differentiate(t.on_losses.GeometricMean()),
        LOSSES,
    ),
    "graddrop": Row(
        lambda m: coordinatewise.graddrop(m, key=KEY),
        lambda t, m: weigh(t.of.GradDrop()),
        needs=("jac",),
        solver="loop",
    ),
    "gradvac": Row(
        lambda m: px.gradvac(key=KEY),
        lambda t, m: weigh(t.of.GradVacWeighting()),
        solver="loop",
    ),
    "imtl_g": Row(lambda m: px.imtl_g(), lambda t, m: weigh(t.of.IMTLGWeighting())),
    "imtl_l": Row(
        lambda m: px.imtl_l(), lambda t, m: learned(t, t.on_losses.IMTLL(m)), LOSSES
    ),
    "krum": Row(
        lambda m: px.krum(num_byzantine=m // 4, num_selected=m // 4),
        lambda t, m: weigh(t.of.KrumWeighting(m // 4, m // 4)),
        least=4,
    ),
    "mgda": Row(
        lambda m: px.mgda(),
        lambda t, m: weigh(t.of.MGDAWeighting()),
        solver="Frank-Wolfe loop",
    ),
    "modo": Row(
        lambda m: px.modo(step_size=0.1, ridge=0.1),
        lambda t, m: weigh(t.of.MoDoWeighting()),
        ("cross",),
    ),
    "nash_mtl": Row(
        lambda m: px.nash_mtl(),
        lambda t, m: weigh(t.of.NashMTL(n_tasks=m).weighting),
        needs=("jac",),
        solver="cvxpy, ECOS",
    ),
    "pcd": Row(
        lambda m: px.pcd(),
        lambda t, m: weigh(t.of.PCDWeighting()),
        solver="active-set loop",
    ),
    "pcgrad": Row(
        lambda m: px.pcgrad(key=KEY),
        lambda t, m: weigh(t.of.PCGradWeighting()),
        solver="loop",
    ),
    "rgw": Row(lambda m: px.rgw(key=KEY), lambda t, m: weigh(t.of.RandomWeighting())),
    "rlw": Row(
        lambda m: px.rlw(key=KEY),
        lambda t, m: differentiate(t.on_losses.Random()),
        LOSSES,
    ),
    "sdmgrad": Row(
        lambda m: px.sdmgrad(),
        lambda t, m: weigh(t.of.SDMGradWeighting()),
        ("cross",),
        solver="loop",
    ),
    "smooth": Row(
        lambda m: px.smooth(px.imtl_g(), decay=0.9),
        lambda t, m: weigh(t.of.CRMOGMWeighting(t.of.IMTLGWeighting())),
    ),
    "total": Row(lambda m: px.total(), lambda t, m: weigh(t.of.SumWeighting())),
    "trimmed_mean": Row(
        lambda m: coordinatewise.trimmed_mean(m, trim=m // 4),
        lambda t, m: weigh(t.of.TrimmedMean(m // 4)),
        needs=("jac",),
    ),
    "uncertainty": Row(
        lambda m: px.uncertainty(), lambda t, m: learned(t, t.on_losses.UW(m)), LOSSES
    ),
    "uniform": Row(lambda m: px.uniform(), lambda t, m: weigh(t.of.MeanWeighting())),
    "upgrad": Row(
        lambda m: px.upgrad(),
        lambda t, m: weigh(t.of.UPGradWeighting()),
        solver="quadprog",
    ),
}


# No peer in TorchJD.
ROWS |= {
    "clip_norm": Row(lambda m: px.clip_norm(px.mgda(), max_norm=1.0)),
    "db_mtl": Row(lambda m: px.db_mtl()),
    "edm": Row(lambda m: px.edm()),
    "every": Row(lambda m: px.every(px.mgda(), num_steps=2)),
    "go4align": Row(lambda m: px.go4align(num_groups=2), needs=LOSSES),
    "gradnorm": Row(lambda m: px.gradnorm(), needs=("gram", "losses")),
    "igb": Row(lambda m: px.igb(), needs=LOSSES),
    "ldc_mtl": Row(lambda m: px.ldc_mtl(), needs=LOSSES),
    "lr_annealing": Row(lambda m: coordinatewise.lr_annealing(m), needs=("jac",)),
    "moco": Row(lambda m: px.moco(step_size=0.05)),
    "normalize": Row(lambda m: px.normalize(px.mgda())),
    "prefer": Row(lambda m: px.prefer(px.mgda(), preference=spread(m))),
    "relobralo": Row(lambda m: px.relobralo(key=KEY), needs=LOSSES),
    "running_points": Row(
        lambda m: px.running_points(
            lambda ideal, nadir: px.scalarizations.tchebycheff(spread(m), ideal=ideal)
        ),
        needs=LOSSES,
    ),
    "scale_invariant": Row(lambda m: px.scale_invariant(), needs=LOSSES),
    "softadapt": Row(lambda m: px.softadapt(), needs=LOSSES),
    "task_tensioner": Row(lambda m: px.task_tensioner(), needs=("gram", "losses")),
}


def missing():
    """Combiners without a row, and rows without a combiner."""
    named = {*weightings.__all__, *coordinatewise.__all__}
    return set(ROWS) ^ {name for name in named if name == name.lower()}
