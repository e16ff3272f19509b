"""All that a run depends on besides its task."""

import dataclasses
from typing import Literal

import jax
import optax

from paretax import ensembles, scalarizations
from paretax._checks import (
    check_choices,
    check_count,
    check_non_negative,
    check_positive,
)

__all__ = ["FrontConfig", "coupling", "preferences", "scalarization"]

_SCALARIZATIONS = {
    "linear": scalarizations.linear,
    "tchebycheff": scalarizations.tchebycheff,
    "smooth-tchebycheff": scalarizations.smooth_tchebycheff,
}


@dataclasses.dataclass(frozen=True)
class FrontConfig:
    """How a front is trained.

    Raises:
      ValueError: an unknown word, a size below 1, passes below 0, a rate that is not
        positive, a margin outside [0, 1), a strength outside [0, 1], an adaptive
        coupling at some steps only.

    Example:
      >>> from paretax import experiments
      >>> experiments.FrontConfig(members=5).members
      5
    """

    members: int = 8
    """Models on the front, one preference each; at least 2."""
    epochs: int = 8
    """Passes over the training data, each member in its own order."""
    batch_size: int = 64
    """Examples a member sees a step."""
    members_at_once: int = 1
    """Members whose gradients a device computes at once: 1 is fastest on a CPU; on an
    accelerator as many as fit."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    """SGD with momentum 0.9, or Adam; either with cosine decay to 0."""
    learning_rate: float = 0.1
    """The first learning rate."""
    scalarization: Literal["linear", "tchebycheff", "smooth-tchebycheff"] = "linear"
    """What turns a member's losses into its objective."""
    coupling: Literal["neighbor", "adaptive", "distance", "none"] = "neighbor"
    """Who hands parameters to whom after each step; adaptive averages whole states of
    neighbors, as strongly as the gradients allow, and lengthens steps
    (`ensembles.adaptive_transfer`)."""
    coupling_strength: float = 0.5
    """For neighbor: the share that comes from the neighbors at first, in [0, 1]."""
    coupling_fade: float = 0.05
    """For neighbor: it falls by 1/e in each such share of all steps; 0: never."""
    transfer: Literal["parameters", "states"] = "parameters"
    """For neighbor and distance, what is handed over: parameters as the step takes
    place, as the published updates do, or whole training states after it, parameters
    and moments, which bears a higher learning rate."""
    transfer_every: int = 1
    """Steps from one transfer to the next, 1 for adaptive; an epoch ends with one, too.
    On a CPU more of them are faster: a member stays in the cache for as many."""
    common_passes: int = 0
    """Passes over the data that one model takes first, on the mean of the losses; then
    all members start from it. A pass costs what 1/members of an epoch does; it is not
    in the curves, and the first checkpoint is that of the first epoch after it."""
    common_rate: float = 0.25
    """Its first learning rate, as a multiple of the members'; it has its own decay."""
    averaged: bool = False
    """Read out a member as the average of its last steps, about a ninth of all."""
    margin: float = 0.1
    """Preferences keep this share of the uniform one, so that no task is untrained."""
    seed: int = 0
    """Initial parameters and the order of examples."""

    def __post_init__(self):
        check_choices(self)
        check_count("members", self.members, 2)
        for name in ("epochs", "batch_size", "members_at_once", "transfer_every"):
            check_count(name, getattr(self, name))
        check_count("common_passes", self.common_passes, 0)
        check_positive("learning_rate", self.learning_rate)
        check_positive("common_rate", self.common_rate)
        strength, margin = self.coupling_strength, self.margin
        if not 0 <= strength <= 1:
            raise ValueError(
                f"coupling_strength: expected a number in [0, 1], got {strength}."
            )
        if not 0 <= margin < 1:
            raise ValueError(
                f"margin: expected a number in [0, 1), got {margin}; at 1 all members "
                "would have the same preference."
            )
        check_non_negative("coupling_fade", self.coupling_fade)
        if self.coupling == "adaptive" and self.transfer_every != 1:
            raise ValueError(
                "transfer_every: expected 1 with coupling adaptive, which reads the "
                f"gradients of every step, got {self.transfer_every}."
            )


def preferences(config: FrontConfig, num_tasks: int):
    """The members' preferences [k, m]: an even grid for two tasks, else random."""
    if num_tasks == 2:
        grid = ensembles.das_dennis(2, config.members - 1)
        grid = grid[grid[:, 0].argsort(descending=True)]
    else:
        key = jax.random.fold_in(jax.random.key(config.seed), 1)
        grid = ensembles.uniform_simplex(key, config.members, num_tasks)
    return (1 - config.margin) * grid + config.margin / num_tasks


def scalarization(config: FrontConfig):
    """The scalarization's factory."""
    return _SCALARIZATIONS[config.scalarization]


def coupling(config: FrontConfig, num_rounds: int, grid) -> ensembles.Coupling:
    """The rule for the transfers of a run with so many; adaptive has its own."""
    if config.coupling == "none":
        return ensembles.no_coupling()
    if config.coupling == "distance":
        return ensembles.distance_coupling()
    strength = config.coupling_strength
    if config.coupling_fade > 0:
        decay = max(1, round(config.coupling_fade * num_rounds))
        strength = optax.exponential_decay(strength, decay, 0.36787944117144233)
    return ensembles.neighbor_coupling(grid, strength=strength)
