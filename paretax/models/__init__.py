"""Trunks and heads, in flax.nnx; training sees their parameters as plain pytrees."""

from paretax.models._attention import MTAN
from paretax.models._convolution import PatchConv
from paretax.models._cross_stitch import CrossStitch
from paretax.models._experts import CGC, PLE, MMoE
from paretax.models._functions import as_functions
from paretax.models._hard_sharing import HardSharing
from paretax.models._hypernetwork import (
    ChunkedHypernetwork,
    Hypernetwork,
    hypernetwork_direction,
)
from paretax.models._message_passing import MessagePassing
from paretax.models._multi_head import LeNet, Perceptron
from paretax.models._resnet import ResNet, resnet_stages
from paretax.models._segnet import SegNetMTAN

__all__ = [
    "CGC",
    "MTAN",
    "PLE",
    "ChunkedHypernetwork",
    "CrossStitch",
    "HardSharing",
    "Hypernetwork",
    "LeNet",
    "MMoE",
    "MessagePassing",
    "PatchConv",
    "Perceptron",
    "ResNet",
    "SegNetMTAN",
    "as_functions",
    "hypernetwork_direction",
    "resnet_stages",
]
