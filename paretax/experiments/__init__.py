"""Recipes on real data: a task and a configuration in, a run folder out."""

from paretax.experiments._config import FrontConfig
from paretax.experiments._front import Front, front
from paretax.experiments._multi_mnist import multi_mnist
from paretax.experiments._task import Task, check_task
from paretax.experiments._train import NonFiniteLossError

__all__ = [
    "Front",
    "FrontConfig",
    "NonFiniteLossError",
    "Task",
    "check_task",
    "front",
    "multi_mnist",
]
