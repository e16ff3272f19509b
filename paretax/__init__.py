"""paretax: learning many tasks at once in JAX."""

from paretax import scalarizations, solvers, weightings
from paretax._combine import combine, per_task
from paretax._jacobian import (
    contract,
    gramian,
    value_and_gradient,
    value_and_gramian,
    value_and_jacobian,
)
from paretax._version import __version__
from paretax._weighting import Weighting, WeightingState, from_losses, stateless
from paretax.weightings import fixed, mgda, nash_mtl, total, uniform

__all__ = [
    "Weighting",
    "WeightingState",
    "__version__",
    "combine",
    "contract",
    "fixed",
    "from_losses",
    "gramian",
    "mgda",
    "nash_mtl",
    "per_task",
    "scalarizations",
    "solvers",
    "stateless",
    "total",
    "uniform",
    "value_and_gradient",
    "value_and_gramian",
    "value_and_jacobian",
    "weightings",
]
