"""An optax transformation for each member of an ensemble."""

import jax
import jax.numpy as jnp
import optax

from paretax._checks import check_count
from paretax._combine import split_keys
from paretax.ensembles._each_member import Placement, each_member

__all__ = ["check_members", "per_member"]


def per_member(
    tx: optax.GradientTransformation,
    num_members: int,
    *,
    batch_size: int | None = None,
    placement: Placement | None = None,
) -> optax.GradientTransformationExtraArgs:
    """An optax transformation applied to each member, with a state of its own.

    Args:
      tx: any transformation on the parameters of one member: an optimizer, or a chain
        that begins with `paretax.combine`.
      num_members: k ≥ 1, the length of the leading axis of every leaf.
      batch_size: members that run at once, as in `each_member`; None for all.
      placement: members are split over devices, as `place` has it.

    Returns:
      An optax transformation on leaves [k, ...]. Every typed key in the state is split,
      so that members draw different numbers. Keyword arguments reach each member with
      their leading axis of k taken off.

    Raises:
      ValueError: `num_members` or `batch_size` below 1; a leaf or keyword argument
        without that axis; members that the devices cannot share evenly.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> from paretax import ensembles
      >>> tx = ensembles.per_member(optax.clip_by_global_norm(1.0), 2)
      >>> params = jnp.zeros((2, 1))
      >>> updates, _ = tx.update(jnp.array([[5.0], [0.5]]), tx.init(params), params)
      >>> updates.tolist()
      [[1.0], [0.5]]

    Cost: k times that of `tx`, vectorized, or in groups.
    """
    k = check_count("num_members", num_members)
    tx = optax.with_extra_args_support(tx)

    def one(row, row_state, row_params, row_args):
        return tx.update(row, row_state, row_params, **row_args)

    run = each_member(one, batch_size=batch_size, placement=placement)

    def init(params):
        check_members("params", params, k)
        return split_keys(jax.vmap(tx.init)(params), k)

    def update(updates, state, params=None, **extra_args):
        check_members("updates", updates, k)
        check_members("params", params, k)
        check_members("extra_args", extra_args, k)

        return run(updates, state, params, extra_args)

    return optax.GradientTransformationExtraArgs(init, update)


def check_members(name: str, tree, num_members: int) -> None:
    """Every leaf has a leading axis of k members."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        if jnp.ndim(leaf) == 0 or leaf.shape[0] != num_members:
            raise ValueError(
                f"{name}{jax.tree_util.keystr(path)}: expected a leading axis of "
                f"{num_members} members, got shape {jnp.shape(leaf)}."
            )
