"""paretax: learning many tasks at once in JAX."""

from paretax import scalarizations, solvers, weightings
from paretax._combine import combine, per_task
from paretax._direction import value_and_direction
from paretax._jacobian import (
    GramianPlan,
    LeafRoute,
    contract,
    explain_gramian,
    feature_gramian,
    gramian,
    value_and_gradient,
    value_and_gramian,
    value_and_jacobian,
)
from paretax._version import __version__
from paretax._weighting import Weighting, WeightingState, from_losses, stateless
from paretax.weightings import every, fixed, mgda, nash_mtl, total, uniform

__all__ = [
    "GramianPlan",
    "LeafRoute",
    "Weighting",
    "WeightingState",
    "__version__",
    "combine",
    "contract",
    "every",
    "explain_gramian",
    "feature_gramian",
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
    "value_and_direction",
    "value_and_gradient",
    "value_and_gramian",
    "value_and_jacobian",
    "weightings",
]
