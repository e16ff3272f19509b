"""Members on the devices of a mesh, of one host or of many."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from paretax.ensembles._each_member import Placement

__all__ = ["place"]

_WHOLE = ("matrix", "finite", "steps", "coupling")


def place(mesh: Mesh, axis_name: str = "members") -> Placement:
    """Members split over one axis of a mesh; the program stays that of one device.

    Give it to `each_member`, `per_member` and `transfer`, move the members by `put`,
    and compile the step by `jax.jit`. Each device holds and trains k/devices members; a
    transfer is one all-to-all there and one back (see `transfer`). Other axes of the
    mesh are left to the compiler: put a batch on them, and gradients are summed over
    them. Many hosts: `jax.distributed.initialize()`, a mesh of `jax.devices()`, and the
    same program on each.

    Args:
      mesh: made by `jax.make_mesh`, with axes of type Auto.
      axis_name: the axis that members are split over.

    Returns:
      A `Placement`.

    Raises:
      ValueError: no such axis, or an axis of another type.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from paretax import ensembles
      >>> auto = (jax.sharding.AxisType.Auto,)
      >>> where = ensembles.place(jax.make_mesh((1,), ("members",), axis_types=auto))
      >>> tx = optax.chain(
      ...     ensembles.per_member(optax.adam(0.1), 2, placement=where),
      ...     ensembles.transfer(ensembles.no_coupling(), placement=where))
      >>> params = where.put(jnp.zeros((2, 3)))
      >>> state = where.put(tx.init(params))
      >>> updates, state = jax.jit(tx.update)(params, state, params)
      >>> updates.sharding.spec
      P('members',)

    Cost: none; the arrays move once.
    """
    if axis_name not in mesh.axis_names:
        raise ValueError(
            f"axis_name: expected an axis of the mesh {mesh.axis_names}, got "
            f"{axis_name!r}."
        )
    types = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    if set(types.values()) != {AxisType.Auto}:
        raise ValueError(
            f"mesh: expected axes of type Auto, got {types}; make it by "
            "jax.make_mesh(..., axis_types=(jax.sharding.AxisType.Auto, ...))."
        )
    whole = NamedSharding(mesh, P())
    split = NamedSharding(mesh, P(axis_name))

    def shardings(tree):
        def one(leaf):
            if not _is_transfer(leaf):
                return split if np.ndim(leaf) else whole
            fields = {
                name: jax.tree.map(lambda _: whole, part)
                if name in _WHOLE
                else shardings(part)
                for name, part in leaf._asdict().items()
            }
            return leaf._replace(**fields)

        return jax.tree.map(one, tree, is_leaf=_is_transfer)

    def put(tree):
        return jax.tree.map(_moved, tree, shardings(tree))

    def everywhere(tree):
        return jax.tree.map(lambda leaf: _moved(leaf, whole), tree)

    return Placement(mesh, axis_name, shardings, put, everywhere)


def _is_transfer(state):
    """The state of a transfer: M and what goes with it are whole on each device."""
    return isinstance(state, tuple) and set(_WHOLE) <= set(
        getattr(state, "_fields", ())
    )


def _moved(leaf, sharding):
    """The array there; from many hosts without asking whether they agree."""
    if sharding.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = _moved(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    values = np.asarray(leaf)
    return jax.make_array_from_callback(values.shape, sharding, lambda i: values[i])
