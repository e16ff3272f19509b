"""Task groups on pictures: CelebA, and Taskonomy by the recipe, tiny and generated."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import recipes
from flax import nnx
from small_sources import write, yeast_text

from paretax import data, experiments, grouping
from paretax.data import _celeb_a, _yeast

CONFIG = experiments.GroupConfig(
    groups=2,
    steps=3,
    phase_steps=3,
    batch_size=4,
    finetune_share=0.0,
    logits_learning_rate=0.01,
    identical=True,
)


def faces(count):
    rng = np.random.default_rng(count)
    return [
        {
            "image": rng.integers(0, 256, (64, 64, 3), np.uint8),
            "attributes": {name: bool(rng.integers(2)) for name in _celeb_a.ATTRIBUTES},
        }
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A data folder with a few random faces and genes."""
    own, root = tmp_path_factory.mktemp("own"), tmp_path_factory.mktemp("data")
    splits = {"train": faces(12), "validation": faces(5), "test": faces(5)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_celeb_a, "_sources", lambda manual_dir: splits)
        write(patch, own, _yeast, "YEAST", yeast_text(80))
        data.load("celeb_a", data_dir=root)
        data.load("yeast", data_dir=root, manual_dir=own)
    return root


def tiny(root, **options):
    return experiments.celeb_a(blocks=(1,), width=4, data_dir=root, **options)


def test_nine_attributes_of_faces_are_grouped(prepared):
    task = tiny(prepared, attributes=experiments.CELEB_A_9)
    assert task.task_names == experiments.CELEB_A_9
    assert task.name == "celeb_a_9"
    assert set(experiments.CELEB_A_9) < set(_celeb_a.ATTRIBUTES)
    assert [spec.name for spec in task.specs] == list(experiments.CELEB_A_9)
    assert {spec.metric for spec in task.specs} == {"accuracy"}  # as its scores are
    whole = data.load("celeb_a", data_dir=prepared).train.label
    column = _celeb_a.ATTRIBUTES.index("Goatee")
    np.testing.assert_array_equal(task.train["label"][:, 4], whole[:, column])
    share = whole[:, column].mean()
    entropy = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    assert task.reference[4] == pytest.approx(entropy, abs=1e-5)
    found = experiments.group(task, CONFIG)
    assert found.group.shape == (9,)
    assert found.report["phases"][0]["heads"] == 18
    assert 0 <= min(found.report["test"]["score"].values()) <= 1


def test_all_forty_attributes_are_the_task_by_name(prepared):
    task = experiments.by_name("celeb_a", data_dir=prepared, examples=5)
    assert task.task_names == _celeb_a.ATTRIBUTES
    assert task.train["image"].shape == (5, 64, 64, 3)
    assert task.reference == tiny(prepared).reference
    size = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
    params = jax.eval_shape(task.init, jax.random.key(0))
    assert size(params["heads"]) == 40 * 513
    assert 11e6 < size(params["trunk"]) < 12e6
    assert jax.eval_shape(task.losses, params, task.train).shape == (40,)


@pytest.mark.parametrize("wrong", [("Bald", "Halo"), ("Bald", "Bald"), (), "Halo"])
def test_attributes_that_are_not_there_are_named(prepared, wrong):
    with pytest.raises(ValueError, match="attributes: expected different ones of 5_o"):
        tiny(prepared, attributes=wrong)


# --- parts


def drawn(task):
    """Parameters of the task's own shapes, without compiling its initializers."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    draw = lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) / 4, leaf.dtype)
    return jax.tree.map(draw, shapes)


def agree(task, whole, trunk, heads):
    """Losses and scores through the parts with one trunk are those of the task."""
    parts, batch = task.parts, jax.tree.map(jnp.asarray, task.train)
    model = grouping.grouped(parts.trunk, parts.head, parts.loss)
    one = grouping.PrunedParams((), jax.tree.map(lambda leaf: leaf[None], trunk), heads)
    group = np.zeros(len(task.task_names), np.int32)

    @jax.jit
    def both(one, whole, batch):
        f = model.pruned_losses(one, group, batch, parts.targets(batch))
        outputs = model.pruned_predict(one, group, batch)
        own = task.losses(whole, batch), task.scores(whole, batch)
        return (f, parts.scores(outputs, batch)), own

    found, expected = both(one, whole, batch)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-4)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)
    assert len(set(np.asarray(found[0]).tolist())) == len(found[0])


def test_the_parts_of_celeb_a_are_its_task(prepared):
    task = tiny(prepared, attributes=("Bald", "Young"))
    whole = drawn(task)
    agree(task, whole, whole["trunk"], whole["heads"])


def test_the_parts_of_yeast_are_its_task(prepared):
    task = experiments.yeast(data_dir=prepared)
    whole = drawn(task)
    layers = {2 * i: layer for i, layer in whole["trunk"].items()}
    heads = jax.tree.map(lambda *rows: jnp.stack(rows), *whole["heads"].values())
    assert len(whole["heads"]) == 14
    agree(task, whole, {"layers": layers}, heads)


# --- the recipe for Taskonomy


class Pixelwise(nnx.Module):
    """A linear map of each pixel's channels, and a rectifier."""

    def __init__(self, n_in, n_out, *, rngs, last=False):
        uniform = nnx.initializers.uniform(1.0)
        self.linear = nnx.Linear(n_in, n_out, kernel_init=uniform, rngs=rngs)
        self.last = last

    def __call__(self, x):
        y = self.linear(x)
        return y if self.last else jax.nn.relu(y)


def scenes(count, side=6):
    rng = np.random.default_rng(count)
    of = lambda channels: rng.random((count, side, side, channels), np.float32)
    label = rng.integers(0, 18, (count, side, side)).astype(np.int32)
    return {
        "rgb": of(3), "depth_zbuffer": of(1), "normal": of(3), "keypoints2d": of(1),
        "edge_texture": of(1), "segment_semantic": label, "mask": of(1)[..., 0] < 0.8,
    }  # fmt: skip


def taskonomy():
    return recipes.taskonomy(
        scenes(8),
        scenes(4),
        scenes(4),
        shared=functools.partial(Pixelwise, 3, 4),
        trunk=functools.partial(Pixelwise, 4, 5),
        head=functools.partial(Pixelwise, 5, 18, last=True),
    )


def test_tasks_of_pictures_and_classes_are_grouped():
    config = recipes.dmtg_as_released(8, 4, epochs=2, groups=3, phase_steps=4)
    assert (config.steps, config.temperature) == (4, 4.0)
    found = experiments.group(taskonomy(), config)
    assert found.report["phases"][-1]["heads"] == 15
    assert set(found.report["test"]["loss"]) == {
        "depth", "normal", "semantic", "keypoints", "edges"
    }  # fmt: skip


def test_losses_of_taskonomy_are_those_of_loops():
    batch, outputs = scenes(3), np.random.default_rng(0).normal(size=(3, 6, 6, 18))
    targets = jax.tree.map(jnp.asarray, recipes.taskonomy_targets(batch))
    losses = jax.jit(jax.vmap(recipes.taskonomy_loss, (None, 0)))
    found = np.asarray(losses(outputs.astype(np.float32), targets))
    label, mask = batch["segment_semantic"], batch["mask"]
    log_p = outputs - np.log(np.exp(outputs).sum(-1, keepdims=True))
    for b in range(3):
        error = abs(outputs[b, ..., :1] - batch["depth_zbuffer"][b])[..., 0]
        assert found[0, b] == pytest.approx(error[mask[b]].mean(), rel=1e-4)
        error = abs(outputs[b, ..., :3] - batch["normal"][b]).mean(-1)
        assert found[1, b] == pytest.approx(error[mask[b]].mean(), rel=1e-4)
        own = np.take_along_axis(-log_p[b], label[b][..., None], -1)[..., 0]
        assert found[2, b] == pytest.approx(own[label[b] > 0].mean(), rel=1e-4)
        for row, name in ((3, "keypoints2d"), (4, "edge_texture")):
            error = abs(outputs[b, ..., :1] - batch[name][b])
            assert found[row, b] == pytest.approx(error.mean(), rel=1e-4)
