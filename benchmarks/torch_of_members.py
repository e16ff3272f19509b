"""The PyTorch side of members.py: the same steps as a loop over members.

All members' parameters are views of one matrix [k, P], so that the transfer is one
product; each member has the forward and backward pass and the SGD step of its own, and
takes all its steps between two transfers before the next member begins.
"""

import torch
from programs_of_members import BATCH, EXAMPLES
from torch import nn
from torch.func import functional_call


class Heads(nn.Module):
    """A trunk and two linear heads."""

    def __init__(self, trunk, features):
        super().__init__()
        self.trunk = trunk
        self.heads = nn.ModuleList(nn.Linear(features, 10) for _ in range(2))

    def forward(self, x):
        h = self.trunk(x)
        return [head(h) for head in self.heads]


def network(name):
    if name == "perceptron":
        trunk = nn.Sequential(
            nn.Flatten(), nn.Linear(324, 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU()
        )
        return Heads(trunk, 64), 18
    trunk = nn.Sequential(
        nn.Conv2d(1, 10, 9), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(10, 20, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(500, 50), nn.ReLU(),
    )  # fmt: skip
    return Heads(trunk, 50), 36


def build(spec):
    """A function that takes spec["steps"] steps of all members."""
    torch.manual_seed(0)
    k = spec["members"]
    model, side = network(spec["network"])
    shapes = {name: p.shape for name, p in model.named_parameters()}
    flat = torch.cat([p.detach().reshape(-1) for p in model.parameters()]).repeat(k, 1)
    members = [_views(row, shapes) for row in flat]
    momentum = torch.zeros_like(flat)
    image = torch.randint(0, 256, (EXAMPLES, 1, side, side), dtype=torch.uint8)
    label = torch.randint(0, 10, (EXAMPLES, 2))
    w = torch.linspace(0, 1, k) if k > 1 else torch.full((1,), 0.5)
    apart = (torch.arange(k)[:, None] - torch.arange(k)).abs()
    kernel = torch.exp(-apart / 0.5).fill_diagonal_(0)
    mixing = 0.5 * torch.eye(k) + 0.5 * kernel / kernel.sum(1, keepdim=True)
    entropy = nn.functional.cross_entropy

    def gradient(i, params):
        """What is added to the momentum of member i."""
        rows = torch.randint(0, EXAMPLES, (BATCH,))
        x, y = image[rows].float() / 255.0, label[rows]
        first, second = functional_call(model, params, (x,))
        loss = w[i] * entropy(first, y[:, 0]) + (1 - w[i]) * entropy(second, y[:, 1])
        gradients = torch.autograd.grad(loss, list(params.values()))
        momentum[i].mul_(0.9).add_(torch.cat([g.reshape(-1) for g in gradients]))

    def turn():
        for i, params in enumerate(members):
            for _ in range(spec["every"] - 1):
                gradient(i, params)
                with torch.no_grad():
                    flat[i].sub_(momentum[i], alpha=0.01)
            gradient(i, params)
        with torch.no_grad():
            moved = mixing @ flat if spec["transfer"] else flat
            flat.copy_(moved - 0.01 * momentum)

    def run():
        for _ in range(spec["steps"] // spec["every"]):
            turn()

    return {"run": run, "compile_s": 0.0, "temp_MiB": 0.0}


def _views(row, shapes):
    parts = torch.split(row, [shape.numel() for shape in shapes.values()])
    return {
        name: part.view(shape).requires_grad_()
        for part, (name, shape) in zip(parts, shapes.items(), strict=True)
    }
