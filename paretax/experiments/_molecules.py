"""QM9 as a task on the atoms themselves: message passing between them."""

import os

from flax import nnx

from paretax import models
from paretax.experiments._tabular import by_specs, load_of
from paretax.experiments._task import Task

__all__ = ["qm9_graphs"]


def qm9_graphs(
    *,
    features: int = 16,
    hidden: int = 16,
    steps: int = 3,
    examples: int | None = None,
    data_dir: str | os.PathLike | None = None,
) -> Task:
    """QM9 on atoms: eleven properties of a molecule, by `models.MessagePassing`.

    Its inputs are the positions of the atoms in Å, [n, 29, 3], and the charges of their
    nuclei, [n, 29], padded with 0. Tasks, losses, scores, units and the reference point
    are those of `qm9`. `by_name` has it as "qm9/graphs".

    Args:
      features: numbers an atom; 64 in the literature.
      hidden: of the perceptron that reads distances; 128 in the literature.
      steps: of message passing; 3 in the literature.
      examples: use the first so many of each split; None for all.
      data_dir: where data sets lie, as in `paretax.data.load`.

    Returns:
      A `Task` without parts. Prepares the data at first use.

    Raises:
      ValueError: a size below 1.
      And as `paretax.data.load`.

    Example:
      >>> from paretax import experiments
      >>> task = experiments.qm9_graphs(examples=1000)  # doctest: +SKIP
      >>> task.train["positions"].shape, task.specs[2].unit  # doctest: +SKIP
      ((1000, 29, 3), 'meV')

    Cost: 10,500 parameters by default; 73 MB of memory for the data.

    Reference: Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022,
    arXiv:2202.01017. Departures: a quarter of the features and an eighth of the hidden
    ones by default; those of `models.MessagePassing`, and those of the data set's
    definition, see `paretax.data`.
    """
    loaded = load_of("qm9", "qm9", data_dir)

    def network(seed):
        return models.MessagePassing(
            len(loaded.tasks),
            features=features,
            hidden=hidden,
            steps=steps,
            rngs=nnx.Rngs(seed),
        )

    _, apply = models.as_functions(nnx.eval_shape(lambda: network(0)))

    def outputs(params, batch):
        return apply(params, batch["positions"], batch["charges"])[..., 0]

    task = by_specs(
        loaded,
        ("positions", "charges"),
        init=lambda key: models.as_functions(network(key))[0],
        outputs=outputs,
        examples=examples,
    )
    return task._replace(name="qm9_graphs")
