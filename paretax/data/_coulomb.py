"""The Coulomb matrix of a molecule, as its eigenvalues."""

import numpy as np

__all__ = ["coulomb_eigenvalues"]

_BOHR = 0.529177210903  # in Å
_CHUNK = 4096


def coulomb_eigenvalues(charges: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Eigenvalues of Coulomb matrices in decreasing magnitude, padded with 0.

    C_ii = ½ Z_i^2.4 and C_ij = Z_i Z_j / ‖R_i − R_j‖, in atomic units: the same for a
    molecule that is moved, turned, or has its atoms in another order.

    Args:
      charges: Z, integers [n, a], the atoms of each molecule first, then zeros.
      positions: R, shape [n, a, 3], in Å.

    Returns:
      float64, shape [n, a].

    Raises:
      ValueError: two atoms of a molecule at one place.

    Cost: O(a³) a molecule, ten seconds for QM9.

    Reference: Rupp, Tkatchenko, Müller & von Lilienfeld, "Fast and Accurate Modeling of
    Molecular Atomization Energies with Machine Learning", PRL 108, 058301 (2012),
    arXiv:1109.2618.
    """
    out = np.zeros(charges.shape)
    sizes = (charges > 0).sum(axis=1)
    for size in np.unique(sizes[sizes > 0]):
        rows = np.flatnonzero(sizes == size)
        for start in range(0, len(rows), _CHUNK):
            own = rows[start : start + _CHUNK]
            matrices = _matrices(charges[own, :size], positions[own, :size], own)
            values = np.linalg.eigvalsh(matrices)
            order = np.argsort(-np.abs(values), axis=1, kind="stable")
            out[own, :size] = np.take_along_axis(values, order, axis=1)
    return out


def _matrices(charges, positions, names):
    z = charges.astype(float)
    apart = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1) / _BOHR
    own = np.eye(z.shape[1], dtype=bool)
    if (apart[:, ~own] == 0).any():
        row = int(names[np.argmax((apart[:, ~own] == 0).any(axis=1))])
        raise ValueError(
            f"positions: expected atoms apart, got two at one place in row {row}."
        )
    matrices = z[:, :, None] * z[:, None] / np.where(own, 1.0, apart)
    matrices[:, own] = 0.5 * z**2.4
    return matrices
