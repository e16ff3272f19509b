"""How fast and how exact are the inner solvers beside those of TorchJD?

Both sides get the same Gramians of slowly drifting gradients of unit norm (m tasks, 4m
+ 20 parameters), in turn, one core for both; times are medians, ours of a compiled call
that waits for its result, theirs of a call of the weighting in float64. Peers, with
TorchJD's defaults: NashMTL (cvxpy and ECOS, at most 20 solves), FairGrad (scipy's
least_squares), MGDA (Frank-Wolfe, at most 100 steps), UPGrad (quadprog a row), CAGrad
(cvxpy and Clarabel).

Errors are taken in float64. Nash, FairGrad: max |a∘(Ka)^α − 1|. MGDA, UPGrad, CAGrad:
‖Jᵀ(w − w*)‖/‖Jᵀw*‖ against our certified float64 answer w*; for that answer itself, its
certificate.

A second table solves 1,024 problems at once, a third counts what float32 solves, claims
and falsely claims on 10,000 Gramians down to cosine −1 + 1e-6.

    python benchmarks/solvers.py [--quick] [--out results.json]    (extra: bench)
"""

import argparse
import functools
import importlib.metadata
import json
import os
import platform
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
if hasattr(os, "sched_setaffinity"):  # one core for both sides: no thread hand-offs
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import cvxpy
import jax
import jax.numpy as jnp
import numpy as np
import torch
from nash_vs_cvxpy import drifting
from tables import show
from torchjd import aggregation

from paretax import solvers

ALPHA = 2.0
C = 0.4


def upgrad(gram):
    m = gram.shape[0]
    out = solvers.project_cone(gram, jnp.eye(m, dtype=gram.dtype))
    return solvers.Solution(
        jnp.mean(out.value, axis=0),
        jnp.all(out.converged),
        jnp.max(out.steps),
        jnp.max(out.error),
    )


class NashMTL:
    """TorchJD's aggregator takes a Jacobian: a factor of the Gramian."""

    def __init__(self, m):
        self.peer = aggregation.NashMTL(n_tasks=m, max_norm=0.0)

    def __call__(self, gram):
        values, vectors = np.linalg.eigh(gram)
        factor = torch.from_numpy(vectors * np.sqrt(np.maximum(values, 0)))

        def call():
            return self.peer.weighting(factor)

        return call


def on_gramian(weighting):
    def prepare(gram):
        return functools.partial(weighting, torch.from_numpy(gram))

    return prepare


PROBLEMS = {
    "Nash": (solvers.bargain, NashMTL, (3, 11, 40, 100)),
    "FairGrad": (
        functools.partial(solvers.bargain, alpha=ALPHA),
        lambda m: on_gramian(aggregation.FairGradWeighting(ALPHA)),
        (3, 11, 40),
    ),
    "MGDA": (
        solvers.min_norm,
        lambda m: on_gramian(aggregation.MGDAWeighting()),
        (3, 11, 40, 100),
    ),
    "UPGrad": (
        upgrad,
        lambda m: on_gramian(aggregation.UPGradWeighting()),
        (3, 11, 40, 100),
    ),
    "CAGrad": (
        functools.partial(solvers.trade_off, c=C),
        lambda m: on_gramian(aggregation.CAGradWeighting(C)),
        (3, 11, 40, 100),
    ),
}


def unit(gram):
    scale = 1 / np.sqrt(np.diag(gram).mean())
    return np.ascontiguousarray(gram * scale * scale)


def error(name, gram, weights, exact):
    weights = np.asarray(weights, np.float64)
    if name in ("Nash", "FairGrad"):
        power = 1.0 if name == "Nash" else ALPHA
        image = np.maximum(gram @ weights, 0)
        return np.abs(weights * image**power - 1).max()
    best = np.asarray(exact.value)
    apart = weights - best
    length = np.sqrt(max(apart @ gram @ apart, 0) / (best @ gram @ best))
    return max(length, float(exact.error))


def timed(call, least=0.02):
    """The time of one call: the mean of as many as fill `least` seconds."""
    started, count = time.perf_counter(), 0
    while count == 0 or time.perf_counter() - started < least:
        answer = call()
        count += 1
    return (time.perf_counter() - started) / count, answer


def compare(name, m, count, x64):
    solve, make, _ = PROBLEMS[name]
    with jax.enable_x64(True):
        exact = jax.jit(solve)
    dtype = np.float64 if x64 else np.float32
    peer, times, errors = make(m), ([], []), ([], [])
    with jax.enable_x64(x64):
        started = time.perf_counter()
        shape = jax.ShapeDtypeStruct((m, m), dtype)
        ours = jax.jit(solve).lower(shape).compile()
        compiled = time.perf_counter() - started
    for gram in map(unit, drifting(m, count, 0)):
        with jax.enable_x64(True):
            best = exact(jnp.asarray(gram))
        with jax.enable_x64(x64):
            k = jnp.asarray(gram, dtype)
            spent, answer = timed(lambda k=k: jax.block_until_ready(ours(k)))
            times[0].append(spent)
        theirs = peer(gram)
        spent, weights = timed(theirs)
        times[1].append(spent)
        seen = np.asarray(k, np.float64) if name in ("Nash", "FairGrad") else gram
        errors[0].append(error(name, seen, answer.value, best))
        errors[1].append(error(name, gram, weights, best))
    mine, other = (float(np.median(t)) for t in times)
    return {
        "problem": name,
        "m": m,
        "dtype": np.dtype(dtype).name,
        "compile_s": compiled,
        "ours_us": 1e6 * mine,
        "theirs_us": 1e6 * other,
        "ratio": float(np.median(np.divide(times[1], times[0]))),
        "our_error": float(max(errors[0])),
        "their_error": float(max(errors[1])),
    }


def at_once(name, m, x64, count=1024):
    solve = PROBLEMS[name][0]
    dtype = np.float64 if x64 else np.float32
    rng = np.random.default_rng(m)
    rows = rng.normal(size=(count, m, 4 * m + 20))
    with jax.enable_x64(x64):
        k = jnp.asarray(np.einsum("cmn,ckn->cmk", rows, rows), dtype)
        started = time.perf_counter()
        batch = jax.jit(jax.vmap(solve)).lower(k).compile()
        compiled = time.perf_counter() - started
        one, first = jax.jit(solve).lower(k[0]).compile(), k[0]
        together, alone = [], []
        for _ in range(15):
            together.append(timed(lambda: jax.block_until_ready(batch(k)))[0])
            alone.append(timed(lambda: jax.block_until_ready(one(first)))[0])
        claimed = float(np.mean(np.asarray(batch(k).converged)))
    return {
        "problem": name,
        "m": m,
        "dtype": np.dtype(dtype).name,
        "compile_s": compiled,
        "us_a_problem": 1e6 * float(np.median(together)) / count,
        "least_us": 1e6 * min(together) / count,
        "single_us": 1e6 * float(np.median(alone)),
        "converged": claimed,
    }


def honesty(m, count):
    rng = np.random.default_rng(m)
    rows = rng.normal(size=(count, m, max(30, 2 * m)))
    apart = 10 ** rng.uniform(-3, 0, size=(count, 1, 1))
    half = m // 2
    noise = rng.normal(size=(count, half, rows.shape[2]))
    rows[:, half : 2 * half] = -rows[:, :half] + apart * noise
    rows *= 10 ** rng.uniform(-4, 4, size=(count, m, 1))
    k = np.einsum("cmn,ckn->cmk", rows, rows).astype(np.float32)
    norms = np.sqrt(np.einsum("cmm->cm", k))
    mild = (k / norms[:, :, None] / norms[:, None]).min((1, 2)) > -0.99
    out = jax.jit(jax.vmap(solvers.bargain))(jnp.asarray(k))
    a = np.asarray(out.value, np.float64)
    image = np.einsum("cmk,ck->cm", k.astype(np.float64), a)
    residual, claimed = np.abs(a * image - 1).max(1), np.asarray(out.converged)
    return {
        "problem": "Nash, float32",
        "m": m,
        "count": count,
        "residual_cosine_above_-0.99": float(residual[mild].max()),
        "solved_to_1e-4": float((residual <= 1e-4).mean()),
        "claimed": float(claimed.mean()),
        "false_claims": int((claimed & (residual > 1e-4)).sum()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="m up to 11, few repeats")
    parser.add_argument("--out", type=Path, default=Path("solvers.json"))
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # cvxpy on inaccurate solutions and on DPP
    torch.set_num_threads(1)
    versions = {
        "device": jax.devices()[0].device_kind,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "torch": torch.__version__,
        "torchjd": importlib.metadata.version("torchjd"),
        "cvxpy": cvxpy.__version__,
    }
    told = ", ".join(f"{key} {value}" for key, value in versions.items())
    results = {"versions": versions}
    results["peers"] = [
        compare(name, m, 2 if args.quick else 7, x64)
        for name, (_, _, sizes) in PROBLEMS.items()
        for x64 in (True, False)
        for m in (sizes[:2] if args.quick else sizes)
    ]
    show(told, results["peers"])
    results["at_once"] = [
        at_once(name, 7, x64) for name in PROBLEMS for x64 in (True, False)
    ]
    show("1,024 problems under vmap", results["at_once"])
    counts = {2: 400, 11: 100} if args.quick else {2: 4000, 7: 3000, 11: 2000, 40: 1000}
    results["float32"] = [honesty(m, count) for m, count in counts.items()]
    show("What float32 claims", results["float32"])
    args.out.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
