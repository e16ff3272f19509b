"""Shapes, named once. m tasks, k members, g groups."""

from jaxtyping import Array, Bool, Float, Int, PyTree

__all__ = ["Active", "Gradient", "Gramian", "Jacobian", "Losses", "Solution", "Weights"]

from typing import NamedTuple

Gramian = Float[Array, "m m"]
Weights = Float[Array, " m"]
Losses = Float[Array, " m"]
Active = Bool[Array, " m"]
Gradient = PyTree[Float[Array, "..."]]
Jacobian = PyTree[Float[Array, "m ..."]]
"""Parameters with a leading task axis; never flattened, never concatenated."""


class Solution(NamedTuple):
    """An answer with its certificate.

    Attributes:
      value: what was asked for.
      converged: whether `error` is below the tolerance the solver states.
      steps: iterations used.
      error: the optimality residual of `value`, as the solver's docstring defines it.
    """

    value: Array
    converged: Bool[Array, ""]
    steps: Int[Array, ""]
    error: Float[Array, ""]
