"""Members over the devices that JAX finds, on one host or on many."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from paretax import ensembles

__all__ = ["is_first_host", "on_first_host", "placement", "share"]


def share(num_members: int, num_devices: int) -> int:
    """The most devices, up to that number, that share the members evenly.

    Args:
      num_members: k ≥ 1.
      num_devices: at least 1.

    Returns:
      The largest divisor of k that is at most `num_devices`.

    Example:
      >>> from paretax import experiments
      >>> experiments.share(8, 6)
      4

    Cost: none.
    """
    return max(n for n in range(1, num_devices + 1) if num_members % n == 0)


def placement(num_members: int, most: int | None = None) -> ensembles.Placement:
    """Members over as many of `jax.devices()`, at most `most`, as share them evenly.

    Raises:
      ValueError: devices of many hosts that do not share the members evenly: a host
        would be idle.
    """
    devices = jax.devices()[:most]
    used = share(num_members, len(devices))
    if jax.process_count() > 1 and used < jax.device_count():
        raise ValueError(
            f"members: expected a multiple of the {jax.device_count()} devices of the "
            f"{jax.process_count()} hosts, got {num_members}."
        )
    auto = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((used,), ("members",), auto, devices=devices[:used])
    return ensembles.place(mesh)


def is_first_host() -> bool:
    """Whether this process is the one that writes and prints."""
    return jax.process_index() == 0


def on_first_host(fun: Callable[[], Any]) -> None:
    """Do it on the first host while the others wait; its failure ends all of them.

    Raises:
      What `fun` raises, on the first host; RuntimeError on the others.
    """
    if jax.process_count() == 1:
        fun()
        return
    fault = None
    if is_first_host():
        try:
            fun()
        except Exception as error:
            fault = error
    failed = multihost_utils.broadcast_one_to_all(np.asarray(fault is not None))
    if fault is not None:
        raise fault
    if failed:
        raise RuntimeError("the first host failed; its message says why.")
