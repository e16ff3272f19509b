"""Recipes on real data: a task and a configuration in, a run folder out."""

from paretax.experiments._config import FrontConfig
from paretax.experiments._devices import share
from paretax.experiments._front import Front, front
from paretax.experiments._group import Groups, group
from paretax.experiments._group_config import GroupConfig
from paretax.experiments._molecules import qm9_graphs
from paretax.experiments._multi_mnist import multi_mnist
from paretax.experiments._named import named
from paretax.experiments._pictures import CELEB_A_9, celeb_a
from paretax.experiments._scenes import cityscapes, nyuv2
from paretax.experiments._tables import (
    by_name,
    census_income,
    mulan,
    qm9,
    solar_flare,
    yeast,
)
from paretax.experiments._task import Parts, Task, check_task
from paretax.experiments._train import NonFiniteLossError

__all__ = [
    "CELEB_A_9",
    "Front",
    "FrontConfig",
    "GroupConfig",
    "Groups",
    "NonFiniteLossError",
    "Parts",
    "Task",
    "by_name",
    "celeb_a",
    "census_income",
    "check_task",
    "cityscapes",
    "front",
    "group",
    "mulan",
    "multi_mnist",
    "named",
    "nyuv2",
    "qm9",
    "qm9_graphs",
    "share",
    "solar_flare",
    "yeast",
]
