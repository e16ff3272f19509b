"""A task by name: a data set, or an object in a module of one's own."""

import importlib
import os
import sys

from paretax.experiments._tables import by_name
from paretax.experiments._task import Task, check_task

__all__ = ["named"]


def named(name: str, *, examples: int | None = None) -> Task:
    """The task of a data set, or one of your own.

    Args:
      name: one of `paretax.data.names()`, or "module:attribute", where the attribute is
        a `Task` or a function that returns one; the module is also looked for in the
        working directory.
      examples: use the first so many of each split; None for all. Not for tasks of
        one's own.

    Returns:
      A `Task`, checked.

    Raises:
      ValueError: the module has no such attribute, or the task has a fault.
      ImportError: there is no such module.
      As `by_name`.

    Example:
      >>> from paretax import experiments
      >>> experiments.named("math:task")
      Traceback (most recent call last):
      ValueError: dataset: the module math has no 'task'.

    Cost: that of `paretax.data.load`, and one look at every number of the data.
    """
    if ":" not in name:
        return by_name(name, examples=examples)
    module, attribute = name.split(":", 1)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    found = getattr(importlib.import_module(module), attribute, None)
    if found is None:
        raise ValueError(f"dataset: the module {module} has no {attribute!r}.")
    task = found if isinstance(found, Task) else found()
    check_task(task)
    return task
