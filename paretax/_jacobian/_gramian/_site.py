"""What is known of a layer: the product that a parameter enters, and its kind."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jax.extend.core import JaxprEqn
from jaxtyping import Array

__all__ = ["Kind", "Level", "Site"]


class Kind(NamedTuple):
    """A product that gradients factor at; all functions are of one round of loops.

    The other operand X becomes canonical rows [B, R, n] and the cotangents G of the
    result [B, R, p]: B independent blocks, R rows, and a gradient Xᵀ G in each block.

    Attributes:
      name: for the explanation.
      matches: `(eqn, position)`: is this such a product, with the parameter there?
      rows: `(site, x) -> [B, R, n]`.
      cotangents: `(site, g) -> [B, R, p]`.
      similarity: `(x, y, dtype) -> [B, R, Q]`: X Yᵀ of two sets of rows.
      condense: `(x, g) -> g`, cotangents [m, B, R, p] of rows that are the same summed,
        where rows are either the same or orthogonal; None where they are not.
      copies: whether `rows` takes memory of its own.
    """

    name: str
    matches: Callable[[JaxprEqn, int], bool]
    rows: Callable[["Site", Array], Array]
    cotangents: Callable[["Site", Array], Array]
    similarity: Callable[[Array, Array, Any], Array]
    condense: Callable[[Array, Array], Array] | None = None
    copies: bool = False


class Level(NamedTuple):
    """A loop around a site: does each round have its own slice of the parameter?"""

    own: bool
    length: int


class Site(NamedTuple):
    """The single product that a parameter enters.

    Attributes:
      kind: what product it is.
      eqn: the product.
      operand: which operand the parameter is.
      path: the step of the program, then of the body of each loop, that leads there.
      views: what is done with the parameter on the way: equations, and levels where
        the parameter enters a loop.
      levels: the loops around the site, outermost first.
      shape: shape of the product's result, without the loops' axes.
      dtype: its type.
    """

    kind: Kind
    eqn: JaxprEqn
    operand: int
    path: tuple[int, ...]
    views: tuple[JaxprEqn | Level, ...]
    levels: tuple[Level, ...]
    shape: tuple[int, ...]
    dtype: Any
