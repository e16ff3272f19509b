"""Losses of every task on every trunk, from three functions of one of each."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from paretax._checks import check_count, is_concrete
from paretax.grouping._assignment import groups
from paretax.grouping._packing import Packing
from paretax.grouping._params import GroupedParams, PrunedParams

__all__ = ["Grouped", "check_heads", "grouped", "label_shares"]


class Grouped(NamedTuple):
    """A model of grouped tasks, as pure functions.

    Attributes:
      example_losses: `(params, x, targets, *, labeled=None, packing=None) -> L`, shape
        [N, K, B]: of each task, on each trunk, for each example; 0 where there is no
        label or the head has been packed away.
      losses: the same, averaged over the examples that have a label, shape [N, K]; 0
        for a task without any.
      predict: `(params, x) -> outputs`, leaves [N, B, ...]: of each task on the trunk
        of its largest logit. Needs all heads.
      pruned_losses: `(params, group, x, targets, *, labeled=None) -> f`, shape [N], of
        a `PrunedParams` and its groups: what fine-tuning takes the sum of.
      pruned_predict: `(params, group, x) -> outputs`, leaves [N, B, ...]. Both are
        faster where `group` is a constant of the compiled program: as one of its
        arguments it costs a copy of the features for each task.
    """

    example_losses: Callable[..., Float[Array, "n k b"]]
    losses: Callable[..., Float[Array, "n k"]]
    predict: Callable[[GroupedParams, Any], PyTree]
    pruned_losses: Callable[..., Float[Array, " n"]]
    pruned_predict: Callable[[PrunedParams, Int[Array, " n"], Any], PyTree]


def grouped(
    trunk: Callable[[PyTree, Any], PyTree],
    head: Callable[[PyTree, PyTree], PyTree],
    loss: Callable[[PyTree, PyTree], Float[Array, " b"]],
    *,
    shared: Callable[[PyTree, Any], Any] | None = None,
    trunks_at_once: int | None = None,
) -> Grouped:
    """K trunks with N heads each, vectorized from one trunk, one head and one loss.

    Args:
      trunk: `trunk(params, x) -> features`.
      head: `head(params, features) -> outputs`, of one task.
      loss: `loss(outputs, targets) -> losses`, shape [B], one number an example. It is
        the same function for all tasks; for tasks of several kinds put the kind into
        the targets and choose with `jnp.where`.
      shared: `shared(params, x)`, what all trunks have below them, computed once.
      trunks_at_once: how many trunks run at once, such groups one after another: all
        (None) where the device is wide, where trunks lie on several devices, and for
        perceptrons anywhere; 1 for convolutions on a CPU. Changes rounding at most.

    Returns:
      A `Grouped`. Its functions take `x` as `trunk` or `shared` does; `targets`, a
      pytree of leaves [N, B, ...]; `labeled`, bool, shape [N, B], the examples that
      have a label (targets without one may be NaN; `loss` sees 0 there); `packing`, the
      heads that `params` still has. A loss that is not finite stays what it is.

    Raises:
      ValueError: `trunks_at_once` below 1; while tracing, targets, masks or heads of
        other leading axes, or a loss that is not [B].

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import grouping
      >>> model = grouping.grouped(
      ...     lambda w, x: x * w, lambda v, h: h * v, lambda y, t: (y - t) ** 2)
      >>> params = grouping.GroupedParams(
      ...     (), jnp.array([1.0, 2.0]), jnp.ones((2, 3)), jnp.zeros((3, 2)))
      >>> x, targets = jnp.array([1.0, 1.0]), jnp.array([[1.0, 1], [2, 2], [3, 0]])
      >>> model.losses(params, x, targets).tolist()
      [[0.0, 1.0], [1.0, 0.0], [2.5, 2.5]]

    Cost: one backbone, K trunks and K·N heads (K·H once packed), and the memory of
    `trunks_at_once` trunks besides what their derivatives keep of each.

    Reference: the architecture of Gao et al., "DMTG: One-Shot Differentiable Multi-Task
    Grouping", ICML 2024, arXiv:2407.05082.
    """
    below = (lambda params, x: x) if shared is None else shared
    trunks = _every_trunk(trunk, trunks_at_once)

    def predict(params, x):
        features = trunks(params.trunks, below(params.shared, x))
        return _every_head(head, params.heads, features)

    def example_losses(params, x, targets, *, labeled=None, packing=None):
        n, k = params.logits.shape
        check_heads(params.heads, k, n if packing is None else packing.tasks.shape[1])
        targets = _present(targets, labeled, n)
        outputs = predict(params, x)
        if packing is None:
            rows = jax.vmap(jax.vmap(loss), (0, None))(outputs, targets)
            rows = jnp.swapaxes(_check_rows(rows, 3), 0, 1)
        else:
            own = jax.tree.map(lambda leaf: leaf[packing.tasks], targets)
            rows = _check_rows(jax.vmap(jax.vmap(loss))(outputs, own), 3)
            rows = _unpacked(rows, packing, n)
        return rows if labeled is None else jnp.where(labeled[:, None], rows, 0.0)

    def losses(params, x, targets, *, labeled=None, packing=None):
        rows = example_losses(params, x, targets, labeled=labeled, packing=packing)
        return _mean(rows, labeled)

    def hard(params, x):
        n, k = params.logits.shape
        check_heads(params.heads, k, n)
        at = (groups(params.logits), jnp.arange(n))
        return jax.tree.map(lambda leaf: leaf[at], predict(params, x))

    return Grouped(example_losses, losses, hard, *_pruned(trunks, head, loss, below))


def _pruned(trunks, head, loss, below):
    """Losses and outputs of one trunk and one head a task."""

    def predict(params, group, x):
        features = trunks(params.trunks, below(params.shared, x))
        if is_concrete(group):
            return _by_trunk(head, params.heads, features, np.asarray(group))
        own = jax.tree.map(lambda leaf: leaf[group], features)
        return jax.vmap(head)(params.heads, own)

    def losses(params, group, x, targets, *, labeled=None):
        targets = _present(targets, labeled, group.shape[0])
        rows = jax.vmap(loss)(predict(params, group, x), targets)
        rows = _check_rows(rows, 2)
        rows = rows if labeled is None else jnp.where(labeled, rows, 0.0)
        return _mean(rows[:, None], labeled)[:, 0]

    return losses, predict


def _by_trunk(head, heads, features, group):
    """The heads of one trunk after the other: no task has a copy of the features."""
    outputs = []
    for trunk in np.unique(group):
        own = jax.tree.map(lambda leaf: leaf[group == trunk], heads)  # noqa: B023
        feature = jax.tree.map(lambda leaf: leaf[trunk], features)  # noqa: B023
        outputs.append(jax.vmap(head, (0, None))(own, feature))
    back = np.argsort(np.argsort(group, kind="stable"))
    return jax.tree.map(lambda *rows: jnp.concatenate(rows)[back], *outputs)


def label_shares(labeled: Bool[Array, "n b"]) -> Float[Array, "n b"]:
    """1/(labels of the task) where there is one, 0 elsewhere."""
    count = jnp.sum(labeled, axis=1, keepdims=True)
    return labeled / jnp.maximum(count, 1).astype(jnp.result_type(float))


def _mean(rows, labeled):
    if labeled is None:
        return jnp.mean(rows, axis=-1)
    return jnp.sum(rows * label_shares(labeled)[:, None], axis=-1)


def _every_trunk(trunk, at_once):
    """`(trunks, x) -> features`, leaves [K, ...], of so many trunks at once."""
    if at_once is None:
        return jax.vmap(trunk, (0, None))
    check_count("trunks_at_once", at_once)

    def run(trunks, x):
        size = min(at_once, len(jax.tree.leaves(trunks)[0]))
        # Under vmap even one by one: XLA's CPU runs a patch convolution faster so.
        return jax.lax.map(lambda own: trunk(own, x), trunks, batch_size=size)

    return run


def _every_head(head, heads, features):
    return jax.vmap(jax.vmap(head, (0, None)))(heads, features)


def _unpacked(rows, packing: Packing, num_tasks):
    """[K, H, B] to [N, K, B], 0 where a head is not there."""
    k, _, b = rows.shape
    rows = jnp.where(packing.valid[..., None], rows, 0.0)
    empty = jnp.zeros((num_tasks, k, b), rows.dtype)
    return empty.at[packing.tasks, jnp.arange(k)[:, None]].add(rows)


def _present(targets, labeled, num_tasks):
    """Targets of N tasks, with 0 in place of those that are missing."""
    for leaf in jax.tree.leaves(targets):
        if jnp.ndim(leaf) < 2 or jnp.shape(leaf)[0] != num_tasks:
            raise ValueError(
                f"targets: expected leaves [{num_tasks}, B, ...], one row a task, got "
                f"shape {jnp.shape(leaf)}."
            )
        shape = jnp.shape(leaf)[:2]
        if labeled is not None and (labeled.shape != shape or labeled.dtype != bool):
            raise ValueError(
                f"labeled: expected a bool array of shape {shape}, got {labeled.dtype} "
                f"of shape {labeled.shape}."
            )
    if labeled is None:
        return targets

    def fill(leaf):
        there = labeled.reshape(labeled.shape + (1,) * (leaf.ndim - 2))
        return jnp.where(there, leaf, jnp.zeros((), leaf.dtype))

    return jax.tree.map(fill, targets)


def check_heads(heads: PyTree, num_groups: int, width: int) -> None:
    """Heads are leaves [K, H, ...]."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(heads)[0]:
        if leaf.shape[:2] != (num_groups, width):
            raise ValueError(
                f"heads{jax.tree_util.keystr(path)}: expected shape [{num_groups}, "
                f"{width}, ...], got {leaf.shape}; packed heads need their packing."
            )


def _check_rows(rows, ndim):
    if rows.ndim != ndim:
        raise ValueError(
            "loss: expected one number an example, shape [B], got shape "
            f"{rows.shape[ndim - 1 :]}."
        )
    return rows
