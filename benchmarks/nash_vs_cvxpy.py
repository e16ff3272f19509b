"""How much faster is our Nash bargain than the concave-convex procedure, and how exact?

The procedure is that of Navon et al. (arXiv:2202.01017, §3.2), stated in cvxpy and
solved by ECOS from the paper's formulas: at most 20 linearizations, each a convex
program,

    min  Σ(K̂a) + ∇φ(a_prev)ᵀ(a − a_prev)/s   s.t.  log(aᵢ s) + log(K̂a)ᵢ ≥ 0,

with s = ‖K‖_F and K̂ = K/s; it stops when two iterates agree to 1e-6 and carries its
last answer from one Gramian of a drifting sequence to the next. Both solve the same
Gramians in turn, one thread each; times are medians, ours in a compiled call that waits
for its result.

    python benchmarks/nash_vs_cvxpy.py [--quick] [--out results.json]
"""

import argparse
import json
import os
import platform
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import cvxpy
import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from paretax import solvers

SIZES = (2, 3, 8, 11, 40)
STEPS = 20


class ConcaveConvex:
    """The peer: one cvxpy problem with parameters, and its last answer."""

    def __init__(self, m):
        self.last = np.ones(m)
        self.a = cvxpy.Variable(m, nonneg=True)
        self.previous = cvxpy.Parameter(m, value=self.last)
        self.gram = cvxpy.Parameter((m, m), value=np.eye(m))
        self.scale = cvxpy.Parameter(1, value=[1.0])
        product = self.gram @ self.a
        slope = 1 / self.previous + (1 / (self.gram @ self.previous)) @ self.gram
        linear = slope @ (self.a - self.previous) / self.scale
        bound = -cvxpy.log(self.a * self.scale) - cvxpy.log(product) <= 0
        self.problem = cvxpy.Problem(
            cvxpy.Minimize(cvxpy.sum(product) + linear), [bound]
        )

    def __call__(self, gram):
        size = np.linalg.norm(gram)
        self.gram.value, self.scale.value = gram / size, [size]
        for _ in range(STEPS):
            self.previous.value = self.last
            try:
                self.problem.solve(solver=cvxpy.ECOS, warm_start=True, max_iters=100)
            except (cvxpy.SolverError, ValueError):
                break  # the official code, too, keeps its last answer
            if self.a.value is None:
                break
            moved = np.linalg.norm(self.a.value - self.last)
            self.last = np.maximum(self.a.value, 1e-12)
            if moved < 1e-6:
                break
        return self.last


def drifting(m, count, spread, seed=0):
    """Gramians of slowly changing gradients whose norms span 10^±spread."""
    rng = np.random.default_rng([seed, m])
    scale = np.logspace(-spread, spread, m)[:, None]
    rows = rng.normal(size=(m, 4 * m + 20))
    for _ in range(count):
        rows = 0.95 * rows + np.sqrt(1 - 0.95**2) * rng.normal(size=rows.shape)
        yield scale * rows @ (scale * rows).T


def residual(gram, a):
    a = np.asarray(a, np.float64)
    return np.abs(a * (np.asarray(gram, np.float64) @ a) - 1).max()


def measure(m, count, spread, x64):
    dtype = np.float64 if x64 else np.float32
    with jax.enable_x64(x64):
        started = time.perf_counter()
        ours = (
            jax.jit(solvers.bargain)
            .lower(jax.ShapeDtypeStruct((m, m), dtype))
            .compile()
        )
        compiled = time.perf_counter() - started
        peer = ConcaveConvex(m)
        times, errors = ([], []), ([], [])
        for gram in drifting(m, count, spread):
            k = jnp.asarray(gram, dtype)
            ours(k).value.block_until_ready()
            started = time.perf_counter()
            for _ in range(10):
                answer = ours(k)
                answer.value.block_until_ready()
            times[0].append((time.perf_counter() - started) / 10)
            started = time.perf_counter()
            theirs = peer(gram)
            times[1].append(time.perf_counter() - started)
            errors[0].append(residual(k, answer.value))
            errors[1].append(residual(gram, theirs))
    mine, other = (float(np.median(t)) for t in times)
    return {
        "m": m,
        "dtype": np.dtype(dtype).name,
        "norms": f"1e-{spread}…1e{spread}" if spread else "1",
        "compile_s": compiled,
        "ours_us": 1e6 * mine,
        "cvxpy_us": 1e6 * other,
        "ratio": other / mine,
        "ours_residual": max(errors[0]),
        "cvxpy_residual": max(errors[1]),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two Gramians a row")
    parser.add_argument("--out", type=Path, help="where to save JSON")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # cvxpy on inaccurate solutions and on DPP
    rows = [
        measure(m, 2 if args.quick else 7, spread, x64)
        for spread in (0, 4)
        for x64 in (True, False)
        for m in (SIZES[:3] if args.quick else SIZES)
    ]
    versions = {
        "device": jax.devices()[0].device_kind,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "cvxpy": cvxpy.__version__,
    }
    told = ", ".join(f"{key} {value}" for key, value in versions.items())
    table = Table(title=f"Nash bargaining, {told}")
    for column in rows[0]:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            *(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values())
        )
    Console(width=140).print(table)
    if args.out:
        args.out.write_text(json.dumps({"versions": versions, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
