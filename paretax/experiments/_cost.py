"""How large a model is, and what a step of it takes."""

from typing import Any

import jax
from jaxtyping import PyTree

__all__ = ["flops_a_step", "parameters"]


def parameters(tree: PyTree) -> int:
    """Numbers in a pytree."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def flops_a_step(phase: Any, *args: Any) -> float | None:
    """Floating-point operations of one step of a jitted scan over steps.

    By the compiler's count, which counts the body of a loop once; None where it has
    none. Nothing is run, and nothing compiled that has been already.
    """
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), args)
    counted = phase.lower(*shapes).compile().cost_analysis()
    return None if not counted else counted.get("flops")
