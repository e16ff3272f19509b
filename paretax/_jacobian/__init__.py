"""The task axis on parameter pytrees: the Jacobian, its Gramian, and the way back."""

from paretax._jacobian._explain import GramianPlan, LeafRoute, explain_gramian
from paretax._jacobian._features import feature_gramian
from paretax._jacobian._stacked import (
    contract,
    cross_gramian,
    gramian,
    keep_rows,
    num_tasks,
)
from paretax._jacobian._value import value_and_gradient, value_and_jacobian
from paretax._jacobian._value_and_gramian import value_and_gramian, value_and_pullback

__all__ = [
    "GramianPlan",
    "LeafRoute",
    "contract",
    "cross_gramian",
    "explain_gramian",
    "feature_gramian",
    "gramian",
    "keep_rows",
    "num_tasks",
    "value_and_gradient",
    "value_and_gramian",
    "value_and_jacobian",
    "value_and_pullback",
]
