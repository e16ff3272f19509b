"""Toy problems with known fronts: losses, starts, and the front to end on."""

from paretax.problems._logic import (
    LogicBatch,
    LogicOperators,
    first_converged,
    logic_operators,
)
from paretax.problems._nash_toy import nash_toy
from paretax.problems._problem import Front, Problem

__all__ = [
    "Front",
    "LogicBatch",
    "LogicOperators",
    "Problem",
    "first_converged",
    "logic_operators",
    "nash_toy",
]
