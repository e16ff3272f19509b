"""What a user brings: losses, parameters and data."""

import zlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

__all__ = ["Task", "check_task", "fingerprint"]


class Task(NamedTuple):
    """A multi-task problem: everything that a front is trained on.

    Attributes:
      name: a short name, used for the run folder.
      init: `init(key) -> params`, the parameters of one model.
      losses: `losses(params, batch) -> f` of shape [m], means over the batch.
      scores: `scores(params, batch) -> s` of shape [m], means over the batch, higher is
        better (accuracies, say), or None.
      train, validation, test: pytrees of arrays with one leading axis of examples. A
      batch
        is the same pytree with fewer examples.
      task_names: m names.
      reference: hypervolume's reference point, shape [m], in units of the losses.

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np
      >>> from paretax import experiments
      >>> x = np.linspace(-1, 1, 64, dtype=np.float32)
      >>> task = experiments.Task(
      ...     name="two lines", init=lambda key: jnp.zeros(2),
      ...     losses=lambda p, x: jnp.stack([jnp.mean((p[0] + p[1] * x - y) ** 2)
      ...                                    for y in (1 - x, 1 + x)]),
      ...     scores=None, train=x, validation=x, test=x,
      ...     task_names=("falling", "rising"), reference=(2.0, 2.0))
      >>> experiments.check_task(task)
      2
    """

    name: str
    init: Callable[[Array], PyTree]
    losses: Callable[[PyTree, PyTree], Float[Array, " m"]]
    scores: Callable[[PyTree, PyTree], Float[Array, " m"]] | None
    train: PyTree
    validation: PyTree
    test: PyTree
    task_names: tuple[str, ...]
    reference: tuple[float, ...]


def check_task(task: Task) -> int:
    """The number of tasks m; every fault of a task is named before anything is trained.

    Args:
      task: a `Task`.

    Returns:
      m.

    Raises:
      TypeError: not a `Task`.
      ValueError: names and reference of different lengths, splits that are empty,
        ragged, of another structure, or hold NaN or infinity; losses or scores of
        another shape than [m].

    Cost: one look at every number of the data; the losses are traced, not computed.
    """
    if not isinstance(task, Task):
        raise TypeError(
            f"task: expected an experiments.Task, got {type(task).__name__}."
        )
    m = len(task.task_names)
    if m == 0 or len(task.reference) != m:
        raise ValueError(
            f"reference: expected one number for each of the {m} task_names, got "
            f"{len(task.reference)}."
        )
    structure = jax.tree.structure(task.train)
    for split in ("train", "validation", "test"):
        data = getattr(task, split)
        if jax.tree.structure(data) != structure:
            raise ValueError(
                f"{split}: expected the structure of train, {structure}, got "
                f"{jax.tree.structure(data)}."
            )
        _check_split(split, data)
    _check_functions(task, m)
    return m


def fingerprint(task: Task) -> str:
    """Eight hexadecimal digits that tell the data of one task from another's.

    Cost: one look at every byte of the data.
    """
    total = 0
    splits = (task.train, task.validation, task.test)
    for path, leaf in jax.tree_util.tree_flatten_with_path(splits)[0]:
        values = np.ascontiguousarray(leaf)
        raw = values.reshape(-1).view(np.uint8)  # bfloat16 has no buffer of its own
        head = f"{jax.tree_util.keystr(path)} {values.shape} {values.dtype}"
        total = zlib.crc32(raw.data, zlib.crc32(head.encode(), total))
    return f"{total:08x}"


def _check_split(split, data):
    lengths = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(data)[0]:
        name = f"{split}{jax.tree_util.keystr(path)}"
        if np.ndim(leaf) == 0:
            raise ValueError(
                f"{name}: expected a leading axis of examples, got a scalar."
            )
        lengths[name] = len(leaf)
        values = np.asarray(leaf)
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            row = int(np.argwhere(~np.isfinite(values))[0][0])
            raise ValueError(
                f"{name}: expected finite numbers, got {values[row].ravel()[:3]} ... "
                f"in example {row}; remove or mend what is missing."
            )
    if not lengths or min(lengths.values()) == 0:
        raise ValueError(f"{split}: expected at least one example, got none.")
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{split}: expected one number of examples, got {lengths}.")


def _check_functions(task, m):
    def shape(fun):
        batch = jax.tree.map(lambda leaf: jnp.asarray(leaf[:2]), task.train)
        return jax.eval_shape(
            lambda k: fun(task.init(k), batch), jax.random.key(0)
        ).shape

    for name in ("losses", "scores"):
        fun = getattr(task, name)
        if fun is not None and shape(fun) != (m,):
            raise ValueError(
                f"{name}: expected shape ({m},), one entry for each of the task_names "
                f"{task.task_names}, got {shape(fun)}; return "
                "jnp.stack([loss_a, loss_b]), not their sum."
            )
