"""The tasks of data sets of numbers, and any task by the name of its data set."""

import os

import jax.numpy as jnp
import numpy as np

from paretax.experiments._molecules import qm9_graphs
from paretax.experiments._multi_mnist import multi_mnist
from paretax.experiments._pictures import celeb_a
from paretax.experiments._scenes import cityscapes, nyuv2
from paretax.experiments._tabular import Inputs, load_of, tabular
from paretax.experiments._task import Task

__all__ = ["by_name", "census_income", "mulan", "qm9", "solar_flare", "yeast"]

_Folder = str | os.PathLike | None


def by_name(
    name: str, *, examples: int | None = None, data_dir: _Folder = None
) -> Task:
    """The task of a data set: what `paretax front NAME` trains.

    Args:
      name: one of `paretax.data.names()`; a family's name means its first. And
        "qm9/graphs", the molecules of qm9 as `qm9_graphs` sees them.
      examples: use the first so many of each split; None for all.
      data_dir: where data sets lie, as in `paretax.data.load`.

    Returns:
      A `Task`. Prepares the data at first use.

    Raises:
      As `paretax.data.load`.

    Example:
      >>> from paretax import experiments
      >>> experiments.by_name("yeasst")
      Traceback (most recent call last):
      ValueError: ... Did you mean 'yeast'? ...

    Cost: that of `paretax.data.load`.
    """
    family = str(name).split("/")[0]
    if family == "census_income":
        return census_income(name, examples=examples, data_dir=data_dir)
    if family == "qm9":
        return _molecules(name)(examples=examples, data_dir=data_dir)
    if family == "mulan":
        return mulan(name, examples=examples, data_dir=data_dir)
    plain = {
        "celeb_a": celeb_a,
        "cityscapes": cityscapes,
        "nyuv2": nyuv2,
        "solar_flare": solar_flare,
        "yeast": yeast,
    }
    if name in plain:
        return plain[name](examples=examples, data_dir=data_dir)
    return multi_mnist(name, examples=examples, data_dir=data_dir)


def _molecules(name):
    """The tasks that one data set makes: of its eigenvalues, and of its atoms."""
    known = {"qm9": qm9, "qm9/graphs": qm9_graphs}
    if name not in known:
        raise ValueError(
            f"name: unknown task {name!r}. Did you mean 'qm9/graphs'? Known of qm9: "
            "qm9, a perceptron on eigenvalues, and qm9/graphs, message passing between "
            "atoms."
        )
    return known[name]


def census_income(
    name: str = "census_income",
    *,
    examples: int | None = None,
    data_dir: _Folder = None,
) -> Task:
    """Census-Income (KDD): two to four binary tasks, a perceptron of 256-64.

    Its inputs are the standardized numbers and the categories one-hot, 503 in all for
    two tasks; a value not seen in the training split is all zeros. Binary
    cross-entropies; the scores are accuracies, and for the literature's AUC there is
    `metrics.auc`. The reference point is the loss of the best constant: (0.2326,
    0.6843) for two tasks.

    Args:
      name: "census_income" (income, never_married), or "census_income/" and one of
        two_tasks, education, three_tasks, four_tasks.
      examples: use the first so many of each split; None for all.
      data_dir: where data sets lie, as in `paretax.data.load`.

    Returns:
      A `Task`. Prepares the data at first use.

    Raises:
      As `paretax.data.load`.

    Example:
      >>> from paretax import experiments
      >>> experiments.census_income().task_names  # doctest: +SKIP
      ('income', 'never_married')

    Cost: 146,000 parameters; 60 MB of memory for the data.
    """
    loaded = load_of("census_income", name, data_dir)
    sizes = [len(values) for values in loaded.statistics["vocabularies"].values()]
    column = np.repeat(np.arange(len(sizes)), sizes)
    value = np.concatenate([np.arange(size) for size in sizes])

    def read(batch):
        hot = batch["category"][:, column] == value
        return jnp.concatenate([batch["numeric"], hot.astype(jnp.float32)], axis=1)

    size = len(column) + loaded.train.numeric.shape[1]
    inputs = Inputs(("numeric", "category"), read, size)
    return tabular(loaded, (256, 64), inputs, examples=examples)


def yeast(*, examples: int | None = None, data_dir: _Folder = None) -> Task:
    """Yeast: 14 labels of a gene, a perceptron of 103-128-64 and 14 heads.

    Binary cross-entropies; the scores are accuracies, whose mean is one minus the
    Hamming loss. The reference point is the entropy of each label in train.

    Args:
      examples: use the first so many of each split; None for all.
      data_dir: where data sets lie, as in `paretax.data.load`.

    Returns:
      A `Task`. Prepares the data at first use.

    Raises:
      As `paretax.data.load`.

    Example:
      >>> from paretax import experiments
      >>> experiments.yeast().task_names[:2]  # doctest: +SKIP
      ('Class1', 'Class2')

    Cost: 22,500 parameters; 1,450 examples to train on.
    """
    return tabular(load_of("yeast", "yeast", data_dir), (128, 64), examples=examples)


def solar_flare(*, examples: int | None = None, data_dir: _Folder = None) -> Task:
    """Solar flare: counts of three classes of flares, a perceptron of 24-32-16.

    Squared errors of standardized counts; the scores are R², one minus the error. The
    reference point is (1, 1, 1), the variances in train.

    Args:
      examples: use the first so many of each split; None for all.
      data_dir: where data sets lie, as in `paretax.data.load`.

    Returns:
      A `Task`. Prepares the data at first use.

    Raises:
      As `paretax.data.load`.

    Example:
      >>> from paretax import experiments
      >>> experiments.solar_flare().task_names  # doctest: +SKIP
      ('c-class-flares', 'm-class-flares', 'x-class-flares')

    Cost: 1,400 parameters; 640 examples to train on. Four flares of class x are among
    them: nobody learns that task from so few, which is what makes it a test.
    """
    loaded = load_of("solar_flare", "solar_flare", data_dir)
    return tabular(loaded, (32, 16), examples=examples)


def qm9(*, examples: int | None = None, data_dir: _Folder = None) -> Task:
    """QM9: eleven properties of a molecule, a perceptron of 29-256-256-128.

    Its inputs are the sorted eigenvalues of the Coulomb matrix. Squared errors of
    standardized targets; the scores are minus the mean absolute errors in the units of
    the Nash-MTL paper's table (D, bohr³, meV, bohr², cal/(mol K)). The reference point
    is 1 for each task, the variance in train.

    Args:
      examples: use the first so many of each split; None for all.
      data_dir: where data sets lie, as in `paretax.data.load`.

    Returns:
      A `Task`. Prepares the data at first use.

    Raises:
      As `paretax.data.load`.

    Example:
      >>> from paretax import experiments
      >>> experiments.qm9().task_names[:3]  # doctest: +SKIP
      ('mu', 'alpha', 'homo')

    Cost: 108,000 parameters; 20 MB of memory for the data.

    Reference: Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022,
    arXiv:2202.01017. Departures: eigenvalues and a perceptron, where the paper has
    molecular graphs and a message-passing network, as has `qm9_graphs`; what its data
    set's definition lists, see `paretax.data`.
    """
    loaded = load_of("qm9", "qm9", data_dir)
    return tabular(loaded, (256, 256, 128), examples=examples)


def mulan(name: str, *, examples: int | None = None, data_dir: _Folder = None) -> Task:
    """A set of Mulan from files of one's own, a perceptron of 128-64.

    Labels have binary cross-entropies and accuracies, numbers squared errors and R².
    The reference point is the loss of the best constant on train.

    Args:
      name: "mulan/NAME", where NAME.arff lies in the folder MULAN_DIR.
      examples: use the first so many of each split; None for all.
      data_dir: where data sets lie, as in `paretax.data.load`.

    Returns:
      A `Task`. Prepares the data at first use.

    Raises:
      As `paretax.data.load`.

    Example:
      >>> from paretax import experiments
      >>> experiments.mulan("mulan/emotions").task_names[0]  # doctest: +SKIP
      'amazed-suprised'

    Cost: 128 · (features + 64) + 65 · tasks parameters, roughly.
    """
    return tabular(load_of("mulan", name, data_dir), (128, 64), examples=examples)
