"""All that a run with task groups depends on besides its task."""

import dataclasses
from typing import Any, Literal

import numpy as np
import optax

from paretax import weightings
from paretax._checks import (
    check_choices,
    check_count,
    check_fraction,
    check_non_negative,
    check_positive,
)
from paretax._weighting import Weighting
from paretax.experiments._optimizer import decayed
from paretax.grouping import GroupedParams

__all__ = [
    "GroupConfig",
    "check_groups",
    "combiner",
    "finetune_optimizer",
    "finetune_steps",
    "group_optimizer",
    "resolved",
    "temperature",
    "temperature_at",
]


@dataclasses.dataclass(frozen=True)
class GroupConfig:
    """How groups and weights are trained.

    Raises:
      ValueError: an unknown word, a size below 1, a rate or temperature that is not
        positive, a warm-up as long as the run, a threshold that is not below 1/groups,
        a combiner with draws for each example.

    Example:
      >>> from paretax import experiments
      >>> experiments.GroupConfig(groups=4).groups
      4
    """

    groups: int = 3
    """K, the most groups that may come out; 1 is naive multi-task learning."""
    steps: int = 0
    """Steps with open groups, each on one batch; 0: eight passes over the training
    data, but at least 300."""
    phase_steps: int = 0
    """Steps of a phase, after which heads that are out of use are taken out and a
    checkpoint is written; 0: a twentieth of the steps."""
    finetune_share: float = 0.2
    """Steps after pruning, each task on its own group, as a share of the steps."""
    batch_size: int = 64
    """Examples a step."""
    trunks_at_once: int = 0
    """Trunks that run at once, the groups one after another; 0: all. On a CPU 1 is
    faster for convolutions, all for perceptrons."""
    combiner: Literal[
        "none",
        "aligned_mtl",
        "cagrad",
        "fairgrad",
        "imtl_g",
        "mgda",
        "nash_mtl",
        "upgrad",
    ] = "none"
    """What combines the gradients of a group's tasks in their trunk, in its default
    form; none: their sum. Costs a backward pass a task more."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """Of trunks and heads: Adam, or SGD with momentum 0.9; with cosine decay to 0."""
    learning_rate: float = 0.001
    """The first learning rate of trunks and heads."""
    logits_learning_rate: float = 0.0
    """That of the logits, constant, whose optimizer is always Adam; 0: 20/steps, so
    that they can travel by 20."""
    finetune_learning_rate: float = 0.0003
    """The first learning rate after pruning; cosine decay to 0 too."""
    temperature: float = 4.0
    """Of the relaxed assignment, at first; higher is softer."""
    schedule: Literal["constant", "exponential", "cosine"] = "constant"
    """How the temperature goes from the first to the last over the steps."""
    last_temperature: float = 0.5
    """At the last step, unless constant."""
    hard: bool = False
    """Draw one group a task and step, with the gradient of the soft assignment."""
    per_example: bool = False
    """Draw for each example, in place of once a batch."""
    warm_up: int = 0
    """Steps at first in which every head on every trunk learns and the logits rest."""
    identical: bool = False
    """Start all trunks alike and all heads alike, as the authors' code does."""
    threshold: float = 0.05
    """A head goes once its probability has been below this ..."""
    patience: int = 0
    """... for so many steps in a row; 0: those of half a phase."""
    seed: int = 0
    """Initial parameters, the order of examples, and the draws."""

    def __post_init__(self):
        check_choices(self)
        for name in ("groups", "batch_size"):
            check_count(name, getattr(self, name))
        for name in ("steps", "phase_steps", "patience", "warm_up", "trunks_at_once"):
            check_count(name, getattr(self, name), 0)
        for name in ("logits_learning_rate", "finetune_share"):
            check_non_negative(name, getattr(self, name))
        for name in (
            "learning_rate",
            "finetune_learning_rate",
            "temperature",
            "last_temperature",
        ):
            check_positive(name, getattr(self, name))
        check_fraction("threshold", self.threshold)
        if self.threshold * self.groups >= 1:
            raise ValueError(
                f"threshold: expected a number below 1/groups = {1 / self.groups:.3g}, "
                f"where all start, got {self.threshold}."
            )
        if self.combiner != "none" and self.per_example:
            raise ValueError(
                f"combiner: expected none with per_example, where a task is in other "
                f"groups for each example, got {self.combiner}."
            )
        if self.warm_up >= self.steps > 0:
            raise ValueError(
                f"warm_up: expected fewer than the {self.steps} steps, got "
                f"{self.warm_up}."
            )


def resolved(config: GroupConfig, examples: int) -> GroupConfig:
    """With numbers in place of the zeros that stand for a choice by others.

    Raises:
      ValueError: a warm-up as long as the steps that were chosen.
    """
    passes = 8 * (examples // min(config.batch_size, examples))
    steps = config.steps or max(300, passes)
    phase = config.phase_steps or -(-steps // 20)
    return dataclasses.replace(
        config,
        steps=steps,
        phase_steps=phase,
        patience=config.patience or -(-phase // 2),
        logits_learning_rate=config.logits_learning_rate or 20 / steps,
    )


def finetune_steps(config: GroupConfig) -> int:
    """Steps after pruning."""
    return round(config.finetune_share * config.steps)


def check_groups(config: GroupConfig, num_tasks: int) -> None:
    """Raises ValueError unless there are tasks to group, and no more groups than these.

    Fewer groups may come out; more than tasks cannot, and would only cost.
    """
    if num_tasks < 2:
        raise ValueError(
            f"task: expected at least two tasks to group, got {num_tasks}; train it "
            "alone."
        )
    if config.groups > num_tasks:
        raise ValueError(
            f"groups: expected at most one a task, {num_tasks}, got {config.groups}."
        )


def temperature(config: GroupConfig):
    """The temperature as `grouping.dmtg` takes it: a number or a schedule."""
    first, last = config.temperature, config.last_temperature
    if config.schedule == "exponential":
        return optax.exponential_decay(first, config.steps, last / first)
    if config.schedule == "cosine":
        return optax.cosine_decay_schedule(first, config.steps, last / first)
    return first


def temperature_at(config: GroupConfig, step: int) -> float:
    """Its value at a step."""
    tau = temperature(config)
    return float(np.asarray(tau(step))) if callable(tau) else tau


def combiner(config: GroupConfig) -> Weighting | None:
    """The weighting inside a group, or None for the sum."""
    if config.combiner == "none":
        return None
    return getattr(weightings, config.combiner)()


def group_optimizer(config: GroupConfig) -> optax.GradientTransformation:
    """Of `GroupedParams`: the network's, and one of the logits' own."""
    net = decayed(config.optimizer, config.learning_rate, config.steps)
    logits = optax.adam(config.logits_learning_rate)
    names: Any = ("net", "net", "net", "logits")
    labels = GroupedParams(*names)
    return optax.partition({"net": net, "logits": logits}, labels)


def finetune_optimizer(config: GroupConfig) -> optax.GradientTransformation:
    """Of `PrunedParams`."""
    steps = max(finetune_steps(config), 1)
    return decayed(config.optimizer, config.finetune_learning_rate, steps)
