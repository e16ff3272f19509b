"""What a user brings: losses, parameters and data."""

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from paretax import data

__all__ = ["Parts", "Task", "check_task", "fingerprint"]


class Parts(NamedTuple):
    """A task's model taken apart, so that tasks can be given trunks of their own.

    Attributes:
      init_trunk, init_head: a key to the parameters of one trunk, of one head.
      trunk: `trunk(params, batch) -> features`.
      head: `head(params, features) -> outputs` of one task, leaves [n, ...].
      loss: `loss(outputs, targets) -> losses` of one task, shape [n]; as in
        `grouping.grouped`.
      targets: `targets(batch)`, of all tasks, leaves [m, n, ...].
      scores: `scores(outputs, batch) -> s`, outputs of all tasks with leaves [m, n,
        ...] to shape [m], means over the batch, higher is better; or None.
      init_shared, shared: of what all trunks have below them: `shared(params, batch)`
        is then what `trunk` gets in place of the batch. None without it.
    """

    init_trunk: Callable[[Array], PyTree]
    init_head: Callable[[Array], PyTree]
    trunk: Callable[[PyTree, Any], PyTree]
    head: Callable[[PyTree, PyTree], PyTree]
    loss: Callable[[PyTree, PyTree], Float[Array, " n"]]
    targets: Callable[[PyTree], PyTree]
    scores: Callable[[PyTree, PyTree], Float[Array, " m"]] | None = None
    init_shared: Callable[[Array], PyTree] | None = None
    shared: Callable[[PyTree, PyTree], Any] | None = None


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
      specs: what each task is, from its data set's definition, or ().
      outputs: `outputs(params, batch) -> z` of shape [m, n], one number for each task
        and example, for metrics that are no means (the AUC), or None. The labels are
        then `batch["label"]`, [n, m].
      parts: the model taken apart, which `experiments.group` needs, or None.

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
    specs: tuple[data.TaskSpec, ...] = ()
    outputs: Callable[[PyTree, PyTree], Float[Array, "m n"]] | None = None
    parts: Parts | None = None


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
        another shape than [m]; targets of its parts that are not [m, n, ...].

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
        arrays = getattr(task, split)
        if jax.tree.structure(arrays) != structure:
            raise ValueError(
                f"{split}: expected the structure of train, {structure}, got "
                f"{jax.tree.structure(arrays)}."
            )
        _check_targets(task, split, arrays)
        _check_split(split, arrays)
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


def _check_targets(task, split, arrays):
    """Where there are parts, a target that is not finite is that of a task by name."""
    if task.parts is None:
        return
    m = len(task.task_names)
    for leaf in jax.tree.leaves(task.parts.targets(arrays)):
        if np.ndim(leaf) < 2 or len(leaf) != m:
            raise ValueError(
                f"parts.targets: expected leaves [{m}, n, ...], one row a task, got "
                f"shape {np.shape(leaf)}."
            )
        finite = np.isfinite(np.asarray(leaf, np.float64)).reshape(m, -1).all(axis=1)
        if not finite.all():
            bad = [task.task_names[i] for i in np.flatnonzero(~finite)]
            raise ValueError(
                f"{split}: expected finite targets, got others for the tasks {bad}; "
                "remove or mend what is missing."
            )


def _check_split(split, arrays):
    lengths = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(arrays)[0]:
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
