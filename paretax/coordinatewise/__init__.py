"""What cannot be said with a Gramian: combiners that read every coordinate of J.

Each factory returns an optax transformation of the call signature of `px.combine`'s:
stacked task gradients in, leaves [m, ...], one gradient out.
"""

from paretax.coordinatewise._excess_mtl import ExcessMtlState, excess_mtl
from paretax.coordinatewise._graddrop import GradDropState, graddrop
from paretax.coordinatewise._lr_annealing import LrAnnealingState, lr_annealing
from paretax.coordinatewise._trimmed_mean import trimmed_mean

__all__ = [
    "ExcessMtlState",
    "GradDropState",
    "LrAnnealingState",
    "excess_mtl",
    "graddrop",
    "lr_annealing",
    "trimmed_mean",
]
