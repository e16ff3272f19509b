"""The TorchJD side of step_cost.py: the same dense networks by its three routes."""

import itertools
import warnings

import torch
from torch import nn
from torchjd.aggregation import NashMTL, UPGrad, UPGradWeighting
from torchjd.autogram import Engine
from torchjd.autojac import jac_to_grad, mtl_backward

warnings.simplefilter("ignore")  # cvxpy on inaccurate solutions
torch.set_num_threads(2)


def build(spec):
    """A function that takes one step."""
    torch.manual_seed(0)
    sizes, m, batch = spec["trunk"], spec["m"], spec["batch"]
    layers = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    trunk = nn.Sequential(*layers)
    heads = nn.ModuleList(nn.Linear(sizes[-1], 1) for _ in range(m))
    optimizer = torch.optim.SGD([*trunk.parameters(), *heads.parameters()], lr=1e-4)
    x, targets = torch.randn(batch, sizes[0]), torch.randn(m, batch, 1)

    def forward():
        h = trunk(x)
        return h, [
            ((head(h) - target) ** 2).mean()
            for head, target in zip(heads, targets, strict=True)
        ]

    def finish():
        optimizer.step()
        optimizer.zero_grad()

    def plain():
        sum(forward()[1]).backward()
        finish()

    def through_jacobian(aggregator, **options):
        def step():
            h, losses = forward()
            mtl_backward(losses, features=h)
            jac_to_grad(trunk.parameters(), aggregator, **options)
            finish()

        return step

    def through_gramian():
        engine, weighting = Engine(trunk, batch_dim=None), UPGradWeighting()

        def step():
            losses = torch.stack(forward()[1])
            weights = weighting(engine.compute_gramian(losses))
            # Trunk by the weights, heads by the plain sum, as on the other routes.
            losses.backward(weights, inputs=list(trunk.parameters()), retain_graph=True)
            losses.sum().backward(inputs=list(heads.parameters()))
            finish()

        return step

    if spec["weighting"] is None:
        return plain
    if spec["weighting"] == "nash":
        return through_jacobian(NashMTL(n_tasks=m))
    if spec["route"] == "autogram":
        return through_gramian()
    if spec["route"] == "gramian option":
        return through_jacobian(UPGrad(), optimize_gramian_computation=True)
    return through_jacobian(UPGrad())
