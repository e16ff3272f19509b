"""The task axis on parameter pytrees: the Jacobian, its Gramian, and the way back."""

from paretax._jacobian._stacked import contract, gramian, keep_rows, num_tasks
from paretax._jacobian._value import (
    value_and_gradient,
    value_and_gramian,
    value_and_jacobian,
)

__all__ = [
    "contract",
    "gramian",
    "keep_rows",
    "num_tasks",
    "value_and_gradient",
    "value_and_gramian",
    "value_and_jacobian",
]
