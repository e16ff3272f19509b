"""Which leaves of a parameter tree are shared: one meaning of `shared=` everywhere."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import PyTree

__all__ = ["Shared", "chosen", "replaced", "shared_mask"]

Shared = PyTree[bool] | Callable[[tuple[Any, ...]], bool] | None
"""A pytree of booleans, a prefix of one, a predicate on the key path, or None: all."""


def shared_mask(shared: Shared, params: PyTree) -> list[bool]:
    """One boolean per leaf of `params`, in `jax.tree.leaves` order.

    Args:
      shared: None (every leaf), a pytree of booleans with the structure of `params` or
        of a prefix of it, or a predicate that is given each leaf's key path (a tuple of
        keys as `jax.tree_util.tree_flatten_with_path` makes them).
      params: the tree that is asked about; only its structure matters.

    Returns:
      A list of booleans.

    Raises:
      ValueError: not a prefix of `params`, a leaf that is not a boolean, or nothing
        shared.

    Example:
      >>> params = {"heads": [1.0, 2.0], "trunk": {"w": 3.0}}
      >>> shared_mask({"heads": False, "trunk": True}, params)
      [False, False, True]
      >>> shared_mask(lambda path: path[0].key == "trunk", params)
      [False, False, True]
    """
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]]
    if shared is None:
        mask = [True] * len(paths)
    elif callable(shared):
        mask = [bool(shared(path)) for path in paths]
    else:
        mask = _broadcast(shared, params)
    if paths and not any(mask):
        raise ValueError(
            "shared: expected at least one shared leaf, got none of "
            f"{[jax.tree_util.keystr(path) for path in paths]}."
        )
    return mask


def chosen(tree: PyTree, mask: list[bool]) -> list[Any]:
    """The leaves that the mask keeps, in `jax.tree.leaves` order."""
    leaves = jax.tree.leaves(tree)
    return [leaf for leaf, keep in zip(leaves, mask, strict=True) if keep]


def replaced(tree: PyTree, mask: list[bool], leaves: list[Any]) -> PyTree:
    """The tree with other leaves where the mask keeps them."""
    old, treedef = jax.tree.flatten(tree)
    new = iter(leaves)
    kept = [next(new) if keep else leaf for leaf, keep in zip(old, mask, strict=True)]
    return jax.tree.unflatten(treedef, kept)


def _broadcast(prefix: PyTree[bool], params: PyTree) -> list[bool]:
    wrong = [leaf for leaf in jax.tree.leaves(prefix) if not isinstance(leaf, bool)]
    if wrong:
        raise ValueError(
            f"shared: expected True or False at every leaf, got {wrong[0]!r}; give a "
            "pytree of booleans, a prefix of one, or a predicate on the key path."
        )
    try:
        return jax.tree.leaves(jax.tree.broadcast(prefix, params))
    except ValueError as error:
        raise ValueError(
            "shared: expected a pytree of booleans with the structure of the "
            f"parameters or of a prefix of them, got one that does not fit: {error}"
        ) from error
