"""The weights of the two baselines: one task alone, and trials on the simplex."""

import numpy as np
from jaxtyping import Float

from paretax.bench._cells import Cell
from paretax.bench._settings import SINGLE_TASK, TUNED, Settings

__all__ = ["cell_weights", "num_trials"]


def num_trials(settings: Settings, num_tasks: int) -> int:
    """How many weight vectors are tried for the tuned weights.

    The budget is that of a method with a Gramian: r rates × s seeds runs of m backward
    passes a step, r·s·m in all. Each trial costs one backward pass a step at each of
    the r rates with the first seed, and the best one is trained with the other s − 1
    seeds: (s·m − 1)·r + s − 1 ≤ r·s·m where s − 1 ≤ r.

    Args:
      settings: of the benchmark; `tuned_weights_trials` says another number.
      num_tasks: m.

    Returns:
      The number of trials, at least 1.

    Cost: none.
    """
    if settings.tuned_weights_trials is not None:
        return settings.tuned_weights_trials
    budget = len(settings.learning_rates) * len(settings.seeds) * num_tasks
    rest = budget - (len(settings.seeds) - 1)
    return max(1, rest // len(settings.learning_rates))


def cell_weights(cell: Cell, num_tasks: int) -> Float[np.ndarray, " m"]:
    """What a cell's losses are weighted by where the method does not say it.

    Args:
      cell: of a baseline: the task, or the trial, is its variant. Trial 0 has equal
        weights; the others are uniform on the simplex, times m, the same for all data
        sets of m tasks.
      num_tasks: m.

    Returns:
      float32, shape [m]; ones for a method.

    Cost: none.
    """
    ones = np.ones(num_tasks, np.float32)
    if cell.method == SINGLE_TASK:
        return np.eye(num_tasks, dtype=np.float32)[cell.variant]
    if cell.method == TUNED and cell.variant > 0:
        draw = np.random.default_rng([20260101, num_tasks, cell.variant])
        return (draw.dirichlet(ones) * num_tasks).astype(np.float32)
    return ones
