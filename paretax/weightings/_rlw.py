"""Random weights on the losses."""

from jaxtyping import Array, Key

from paretax._weighting import Weighting
from paretax.weightings._rgw import rgw

__all__ = ["rlw"]


def rlw(*, key: Key[Array, ""]) -> Weighting:
    """Random loss weighting: w = softmax(z), z ~ N(0, I), drawn anew at each step.

    Args:
      key: a typed key, as `jax.random.key(0)` makes it.

    Returns:
      A weighting that needs neither the Gramian nor the losses; weights on the simplex.
      With missing tasks the softmax runs over the active ones.

    Raises:
      ValueError: `key` is no single typed key.

    Example:
      >>> import jax, paretax as px
      >>> random = px.rlw(key=jax.random.key(0))
      >>> weights, state = random.update(None, random.init(3))
      >>> round(float(weights.sum()), 3), bool((weights > 0).all())
      (1.0, True)

    Cost: m random numbers; one backward pass a step.

    Reference: Lin, Ye, Zhang & Tsang, "Reasonable Effectiveness of Random Weighting: A
    Litmus Test for Multi-Task Learning", TMLR 2022, arXiv:2111.10603. The weights sum
    to 1, as in the paper, in LibMTL and in Nash-MTL's code; IGB's code multiplies them
    by m. Departure: none in the rule. As a weighting it is `rgw`; the methods differ
    for heads, which a weighted loss weights too: `combine(..., weight_heads=True)`.
    """
    return rgw(key=key)
