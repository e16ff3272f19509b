"""paretax: learning many tasks at once in JAX."""

from paretax import scalarizations
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

__all__ = [
    "Weighting",
    "WeightingState",
    "__version__",
    "combine",
    "contract",
    "from_losses",
    "gramian",
    "per_task",
    "scalarizations",
    "stateless",
    "value_and_gradient",
    "value_and_gramian",
    "value_and_jacobian",
]
