"""Trunks and heads, in flax.nnx; training sees their parameters as plain pytrees."""

from paretax.models._convolution import PatchConv
from paretax.models._functions import as_functions
from paretax.models._hypernetwork import (
    ChunkedHypernetwork,
    Hypernetwork,
    hypernetwork_direction,
)
from paretax.models._multi_head import LeNet, Perceptron

__all__ = [
    "ChunkedHypernetwork",
    "Hypernetwork",
    "LeNet",
    "PatchConv",
    "Perceptron",
    "as_functions",
    "hypernetwork_direction",
]
