"""Weightings: the Gramian (or the losses) of m tasks in, m weights out."""

from paretax.weightings._constant import fixed, total, uniform
from paretax.weightings._every import every
from paretax.weightings._mgda import mgda
from paretax.weightings._nash_mtl import nash_mtl

__all__ = ["every", "fixed", "mgda", "nash_mtl", "total", "uniform"]
