"""QM9: eleven properties of small organic molecules."""

import array
import csv
import io
import math
import os
from typing import NamedTuple

import numpy as np

from paretax.data._columns import standardize
from paretax.data._contents import Contents, TaskSpec, check_contents
from paretax.data._coulomb import coulomb_eigenvalues
from paretax.data._files import PackagedFile, read_file

__all__ = ["ABOUT", "FILES", "MAX_ATOMS", "TARGETS", "MoleculeSplit", "compose"]

_PART = PackagedFile(
    title="QM9 (Ramakrishnan, Dral, Rupp & von Lilienfeld 2014)",
    module="qm9pack",
    path="data/qm9_part1.csv",
    md5="bf00723b300e10892ab90fd3fe2f86a7",
    package="qm9pack",
    command="pip install 'paretax[data-large]'",
)
FILES = (
    _PART,
    _PART._replace(
        path="data/qm9_part2.csv", md5="28a2e37cf78ad547aacd27904642e77d"
    ),
    _PART._replace(
        path="data/qm9_part3.csv", md5="0bc3653148d46e4d1b8d6be6009f8f95"
    ),
)  # fmt: skip
MAX_ATOMS = 29
_CHARGES = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}
_MEV = 27211.386246  # a hartree, as torch_geometric has it
# task → its column, its unit, and how many units one of the column's is
TARGETS = {
    "mu": ("Dipole_debye", "D", 1.0),
    "alpha": ("Polarizability_bohr3", "bohr³", 1.0),
    "homo": ("HOMO_au", "meV", _MEV),
    "lumo": ("LUMO_au", "meV", _MEV),
    "r2": ("R2_bohr2", "bohr²", 1.0),
    "zpve": ("ZPVE_au", "meV", _MEV),
    "u0": ("InternalEnergy_0K_au", "meV", _MEV),
    "u": ("InternalEnergy_298K_au", "meV", _MEV),
    "h": ("Enthalphy_298K_au", "meV", _MEV),
    "g": ("GibbsFreeEnergy_298K_au", "meV", _MEV),
    "cv": ("Heatcapacity_Cv_cal_mol_K", "cal/(mol K)", 1.0),
}
# Energies of single atoms in hartree, for H, C, N, O, F: QM9's own table of references.
_ATOMS = {
    "u0": (-0.500273, -37.846772, -54.583861, -75.064579, -99.718730),
    "u": (-0.498857, -37.845355, -54.582445, -75.063163, -99.717314),
    "h": (-0.497912, -37.844411, -54.581501, -75.062219, -99.716370),
    "g": (-0.510927, -37.861317, -54.598897, -75.079532, -99.733544),
}
_STRIP = str.maketrans("", "", "[]' ")
_HELD_OUT = 10_000
_SEED = 20260101
ABOUT = {
    "features": "29 sorted Coulomb eigenvalues, standardized; 29×3 positions in Å and "
    "29 charges, padded with 0",
    "tasks": f"{', '.join(TARGETS)}: squared error, standardized; MAE in the units of "
    "the Nash-MTL paper",
    "splits": "110,831 train, 10,000 validation, 10,000 test",
    "sources": _PART.title,
}


class MoleculeSplit(NamedTuple):
    """Examples in memory.

    Attributes:
      features: float32, shape [n, 29], eigenvalues of the Coulomb matrix in decreasing
        magnitude, standardized by the training split.
      positions: float32, shape [n, 29, 3], of the atoms, in Å.
      charges: int32, shape [n, 29], of the nuclei; 0 where there is no atom.
      label: float32, shape [n, 11], standardized by the training split.
    """

    features: np.ndarray
    positions: np.ndarray
    charges: np.ndarray
    label: np.ndarray


class _Molecules(NamedTuple):
    charges: np.ndarray  # int32 [n, 29]
    positions: np.ndarray  # float64 [n, 29, 3]
    values: np.ndarray  # float64 [n, 11], in the source's units


def compose(manual_dir: str | os.PathLike | None = None) -> Contents:
    """130,831 molecules: all of QM9 but the 3,054 whose structures are doubtful.

    The eleven targets of Nash-MTL (Navon et al., ICML 2022, arXiv:2202.01017) in their
    order: u0, u, h and g are energies of atomization, so the energies of the single
    atoms are subtracted. 10,000 molecules each for validation and test. Departures: the
    split is our own fixed one, not a new one for each seed; means and standard
    deviations are the training split's, where the released code takes those of all
    molecules; no bond types and no hybridization among the features.
    """
    parts = [_parse(read_file(file, manual_dir), file.path) for file in FILES]
    molecules = _Molecules(
        *(np.concatenate(field) for field in zip(*parts, strict=True))
    )
    values = _targets(molecules)
    eigenvalues = coulomb_eigenvalues(molecules.charges, molecules.positions)
    rows = _split(len(values))
    mean, scale = standardize(eigenvalues[rows["train"]])
    target_mean, target_scale = standardize(values[rows["train"]])
    whole = MoleculeSplit(
        ((eigenvalues - mean) / scale).astype(np.float32),
        molecules.positions.astype(np.float32),
        molecules.charges,
        ((values - target_mean) / target_scale).astype(np.float32),
    )
    tasks = tuple(
        TaskSpec(
            name, "squared error", "MAE", False,
            unit=unit, mean=float(target_mean[i]), scale=float(target_scale[i]),
        )
        for i, (name, (_, unit, _)) in enumerate(TARGETS.items())
    )  # fmt: skip
    splits = {
        split: MoleculeSplit(*(array[own] for array in whole))
        for split, own in rows.items()
    }
    facts = {"feature_mean": mean.tolist(), "feature_scale": scale.tolist()}
    return check_contents(Contents(splits, tasks, facts), "qm9")


def _split(n):
    held_out = min(_HELD_OUT, n // 5)  # a fifth of a small file
    order = np.random.default_rng(_SEED).permutation(n)
    return {
        "train": np.sort(order[2 * held_out :]),
        "validation": np.sort(order[held_out : 2 * held_out]),
        "test": np.sort(order[:held_out]),
    }


def _targets(molecules):
    """The targets [n, 11] in the units of the tasks."""
    values = molecules.values * [factor for _, _, factor in TARGETS.values()]
    elements = np.array(list(_CHARGES.values()))
    counts = (molecules.charges[:, :, None] == elements).sum(axis=1)
    for i, name in enumerate(TARGETS):
        if name in _ATOMS:
            values[:, i] -= counts @ np.array(_ATOMS[name]) * _MEV
    return values


def _parse(content: bytes, place: str) -> _Molecules:
    """The molecules of one file."""
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
    header = next(reader, [])
    wanted = ["Elements", "XYZ_Ang", *(column for column, _, _ in TARGETS.values())]
    absent = [name for name in wanted if name not in header]
    if absent:
        raise ValueError(f"{place}: expected a column {absent[0]!r}, got {header}.")
    at = [header.index(name) for name in wanted]
    sizes, charges = array.array("i"), array.array("i")
    positions, values = array.array("d"), array.array("d")
    for row in reader:
        try:
            elements = row[at[0]].translate(_STRIP).split(",")
            places = list(map(float, row[at[1]].translate(_STRIP).split(",")))
            numbers = [float(row[i]) for i in at[2:]]
            if len(places) != 3 * len(elements) or len(elements) > MAX_ATOMS:
                raise ValueError(f"{len(elements)} atoms, {len(places)} coordinates")
            if not math.isfinite(sum(places)):
                raise ValueError("a position that is not finite")
            for name, number in zip(wanted[2:], numbers, strict=True):
                if not math.isfinite(number):
                    raise ValueError(f"{number} as {name}")
            charges.extend([_CHARGES[element] for element in elements])
        except (ValueError, KeyError, IndexError) as error:
            raise ValueError(
                f"{place}: expected elements, positions and 11 numbers in line "
                f"{reader.line_num}, got {error}."
            ) from error
        sizes.append(len(elements))
        positions.extend(places)
        values.extend(numbers)
    return _padded(sizes, charges, positions, values)


def _padded(sizes, charges, positions, values):
    there = np.arange(MAX_ATOMS) < np.array(sizes, int)[:, None]
    padded = np.zeros(there.shape, np.int32), np.zeros((*there.shape, 3))
    padded[0][there] = charges
    padded[1][there] = np.array(positions).reshape(-1, 3)
    return _Molecules(*padded, np.array(values).reshape(-1, len(TARGETS)))
