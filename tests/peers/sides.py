"""Both sides of a comparison on the same numbers: ours vmapped, theirs in a loop.

Numbers are a dict of float64 arrays with the leading axes [cases, steps]: `jac`
[..., m, n], `gram` and `cross_gram` [..., m, m], `losses` and `losses_after` [..., m].
torch is imported inside the functions: this file can be read without it.
"""

from types import SimpleNamespace

import gramians
import jax
import jax.numpy as jnp
import numpy as np

import paretax as px

__all__ = [
    "apart",
    "load_torch",
    "numbers",
    "on_gram",
    "on_jac",
    "on_losses",
    "run_ours",
    "run_theirs",
]

WIDTH = 50


def load_torch():
    """The modules that the table of pairs uses."""
    import torch
    import torchjd.aggregation
    import torchjd.linalg
    import torchjd.scalarization

    torch.set_num_threads(1)
    return SimpleNamespace(
        torch=torch,
        optim=torch.optim,
        tensor=lambda x: torch.tensor(x, dtype=torch.float64),
        aggregation=torchjd.aggregation,
        linalg=torchjd.linalg,
        scalarization=torchjd.scalarization,
    )


def _random(m, count):
    """Full rank, common part and conflict, norms within a decade."""
    rng = np.random.default_rng([7, m])
    for i in range(count):
        rows = rng.normal(size=(m, (m + 3, 30)[i % 2] if m > 2 else 10))
        rows += rng.uniform(0, 1.5) * rng.normal(size=rows.shape[1])
        rows -= rng.uniform(0, 0.9) * rows.mean(0)
        yield rows * 10 ** rng.uniform(-0.5, 0.5, size=(m, 1))


def _nasty(decades):
    def make(m, count):
        return gramians.nasty_jacobians(m, count, seed=1, decades=decades)

    return make


def _hard(m, count):
    """The named cases, but those at the ends of float32's range."""
    jacs, names = gramians.stack(m)
    for jac, name in zip(jacs, names, strict=True):
        if name not in ("tiny", "huge"):
            yield jac


MATRICES = {
    "random": _random,
    "nasty": _nasty(1.0),
    "decades": _nasty(4.0),
    "hard": _hard,
}


def numbers(kind, m, count, steps=1, scale=1.0):
    """The cases of that kind, each drifting for some steps."""
    rng = np.random.default_rng([11, m])
    rows = []
    for jac in MATRICES[kind](m, count):
        wide = np.zeros((steps, m, WIDTH))
        n = jac.shape[1]
        wide[0, :, :n] = jac
        for t in range(1, steps):
            noise = rng.normal(size=jac.shape) * np.linalg.norm(jac, axis=1)[:, None]
            wide[t, :, :n] = 0.8 * wide[t - 1, :, :n] + 0.6 * noise / np.sqrt(n)
        rows.append(wide)
    jac = scale * np.stack(rows)
    other = jac + 0.3 * jac[..., ::-1]
    losses = np.exp(rng.normal(size=jac.shape[:3]))
    return {
        "jac": jac,
        "gram": jac @ jac.swapaxes(-1, -2),
        "cross_gram": jac @ other.swapaxes(-1, -2),
        "losses": losses,
        "losses_after": losses * np.exp(0.3 * rng.normal(size=losses.shape) - 0.1),
    }


def run_ours(make, m, x):
    """Weights [cases, steps, m], or directions for what sees J itself, in float64."""
    with jax.enable_x64(True):
        made = make(m)

        def step(state, now):
            now = dict(now)
            jac, gram = now.pop("jac"), now.pop("gram")
            if isinstance(made, px.Weighting):
                return made.update(gram, state, **now)[::-1]
            return made.update(jac, state, **now)[::-1]

        def run(case):
            start = m if isinstance(made, px.Weighting) else case["jac"][0, 0]
            return jax.lax.scan(step, made.init(start), case)[1]

        x = {name: jnp.asarray(value) for name, value in x.items()}
        return np.asarray(jax.jit(jax.vmap(run))(x))


def run_theirs(make, t, m, x):
    """The same of a fresh peer a case; NaN where its solver gives up."""
    out = []
    for i in range(len(x["jac"])):
        step = make(t, m)
        for s in range(x["jac"].shape[1]):
            now = {name: t.tensor(value[i, s]) for name, value in x.items()}
            try:
                found = step(now).detach().numpy()
            except (ValueError, TypeError, ArithmeticError):
                found = np.full(m, np.nan)
            out.append(found)
    return np.stack(out).reshape(*x["jac"].shape[:2], -1)


def on_gram(weighting, name="gram"):
    """Weights from a Gramian, or from the product of two Jacobians."""
    return lambda now: weighting(now[name])


def on_jac(aggregator):
    """A direction, or weights, from J."""
    return lambda now: aggregator(now["jac"])


def on_losses(scalarizer, before=lambda now: None, after=lambda: None):
    """The derivative of a scalarizer, and what its owner does around the step."""

    def step(now):
        before(now)
        values = now["losses"].clone().requires_grad_()
        scalarizer(values).backward()
        after()
        return values.grad

    return step


def apart(mode, jac, ours, theirs):
    """How far two answers are apart, of theirs or of what its rounding is made of."""
    if mode == "weights":
        return np.abs(ours - theirs).max(-1) / np.abs(theirs).max(-1).clip(1e-300)
    if ours.shape[-1] != jac.shape[-1]:
        ours = np.einsum("...m,...mn->...n", ours, jac)
    if theirs.shape[-1] != jac.shape[-1]:
        theirs = np.einsum("...m,...mn->...n", theirs, jac)
    length = np.linalg.norm(theirs, axis=-1, keepdims=True)
    if mode == "ray":
        ours = ours / np.linalg.norm(ours, axis=-1, keepdims=True)
        theirs, length = theirs / length, np.ones_like(length)
    floor = 1e-6 * np.linalg.norm(jac, axis=-1).max(-1)
    error = np.linalg.norm(ours - theirs, axis=-1)
    return error / np.maximum(length[..., 0], floor if mode != "ray" else 0).clip(
        1e-300
    )
