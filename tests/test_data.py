"""MultiMNIST: sources and their checks, composition, splits, preparation, errors."""

import gzip
import hashlib
import struct
import subprocess
import sys

import numpy as np
import pytest

from paretax import data
from paretax.data import _multi_mnist, _sources

FASHION = _sources.find_source("fashion") is not None


def pictures(seed, n_train=120, n_test=30):
    rng = np.random.default_rng(seed)
    return _sources.Pictures(
        rng.integers(0, 256, (n_train, 28, 28), np.uint8),
        rng.integers(0, 10, n_train).astype(np.uint8),
        rng.integers(0, 256, (n_test, 28, 28), np.uint8),
        rng.integers(0, 10, n_test).astype(np.uint8),
    )


@pytest.fixture
def own_files(tmp_path, monkeypatch):
    """A folder with small IDX files, and checksums that fit them."""
    folder = tmp_path / "manual" / "mnist"
    folder.mkdir(parents=True)
    sums = {}
    for part, array in pictures(0)._asdict().items():
        raw = _sources._header(array) + array.tobytes()
        sums[part] = hashlib.md5(raw).hexdigest()
        name = _sources._FILES[part]
        if "label" in part:
            (folder / name).write_bytes(raw)
        else:
            (folder / f"{name}.gz").write_bytes(gzip.compress(raw))
    known = _sources.SOURCES["mnist"]
    monkeypatch.setitem(_sources.SOURCES, "mnist", known._replace(md5=sums))
    return tmp_path / "manual"


def test_pictures_overlap_by_the_brighter_pixel_and_carry_their_labels():
    left, right = pictures(1), pictures(2)
    out = _multi_mnist.compose(left, right)
    assert {split: len(x[0]) for split, x in out.items()} == {
        "train": 100,
        "validation": 20,
        "test": 30,
    }
    images, labels = out["test"]
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        np.testing.assert_array_equal(image[:8, :28], left.test_image[row, :8])
        partner = next(
            i
            for i, r in enumerate(right.test_image)
            if (image[28:, 8:] == r[20:]).all()
        )
        expected = np.maximum(
            left.test_image[row][8:, 8:], right.test_image[partner][:20, :20]
        )
        np.testing.assert_array_equal(image[8:28, 8:28], expected)
        assert label.tolist() == [left.test_label[row], right.test_label[partner]]
        assert (image[28:, :8] == 0).all()
        assert (image[:8, 28:] == 0).all()


def test_no_picture_is_in_two_splits_and_pairs_are_the_same_every_time():
    both = pictures(3)
    out = _multi_mnist.compose(both, both)
    corners = {
        split: {image[:8, :28].tobytes() for image in images}
        | {b"right" + image[28:, 8:].tobytes() for image in images}
        for split, (images, _) in out.items()
    }
    assert not corners["train"] & corners["validation"]
    assert not corners["train"] & corners["test"]
    again = _multi_mnist.compose(both, both)
    for split in out:
        np.testing.assert_array_equal(out[split][0], again[split][0])
        np.testing.assert_array_equal(out[split][1], again[split][1])


def test_prepare_and_load_give_back_what_was_composed(own_files, tmp_path):
    assert data.status("multi_mnist", tmp_path / "data") != "ready"
    loaded = data.load("multi_mnist", data_dir=tmp_path / "data", manual_dir=own_files)
    assert data.status("multi_mnist", tmp_path / "data") == "ready"
    assert loaded.name == "multi_mnist/mnist"
    assert loaded.task_names == ("left", "right")
    expected = _multi_mnist.compose(pictures(0), pictures(0))
    for split, (images, labels) in expected.items():
        got = getattr(loaded, split)
        assert got.image.dtype == np.uint8
        assert got.label.dtype == np.int32

        def keys(x, y):
            return sorted(a.tobytes() + b.tobytes() for a, b in zip(x, y, strict=True))

        assert keys(got.image, got.label) == keys(images, labels)
    again = data.load("multi_mnist", data_dir=tmp_path / "data")
    np.testing.assert_array_equal(again.train.image, loaded.train.image)


def test_pairs_are_what_the_canvases_were_composed_of(own_files, tmp_path):
    parts = data.load_pairs("multi_mnist", manual_dir=own_files)
    loaded = data.load("multi_mnist", data_dir=tmp_path / "data", manual_dir=own_files)
    source = pictures(0)
    for split, (image, label, left, right) in parts.items():
        canvas = np.zeros((len(image), 36, 36), np.uint8)
        canvas[:, :28, :28] = left
        canvas[:, 8:, 8:] = np.maximum(canvas[:, 8:, 8:], right)
        np.testing.assert_array_equal(image, canvas)
        part = "test" if split == "test" else "train"
        labels = {
            picture.tobytes(): int(number)
            for picture, number in zip(
                getattr(source, f"{part}_image"),
                getattr(source, f"{part}_label"),
                strict=True,
            )
        }
        for side, column in ((left, 0), (right, 1)):
            assert [labels[x.tobytes()] for x in side] == label[:, column].tolist()
        stored = {x.tobytes() for x in np.asarray(getattr(loaded, split).image)}
        assert stored == {x.tobytes() for x in image}
    with pytest.raises(ValueError, match="Did you mean 'multi_mnist/fashion'"):
        data.load_pairs("multi_mnist/fashon")


def test_an_interrupted_preparation_leaves_nothing_that_load_reads(
    own_files, tmp_path, monkeypatch
):
    from paretax.data import _builder

    def broken(images, labels):
        yield 0, {"image": images[0], "label": labels[0]}
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(
            _builder.MultiMnist, "_generate_examples", lambda self, i, y: broken(i, y)
        )
        with pytest.raises(KeyboardInterrupt):
            data.load("multi_mnist", data_dir=tmp_path / "data", manual_dir=own_files)
    assert data.status("multi_mnist", tmp_path / "data") != "ready"
    loaded = data.load("multi_mnist", data_dir=tmp_path / "data", manual_dir=own_files)
    assert len(loaded.train.label) == 100


def test_mock_data_has_the_builders_shapes():
    import tensorflow_datasets as tfds

    from paretax.data._builder import MultiMnist

    with tfds.testing.mock_data(num_examples=3):
        builder = MultiMnist(config="fashion", file_format="array_record")
        row = builder.as_data_source(split="train")[0]
    assert row["image"].shape == (36, 36)
    assert row["label"].shape == (2,)


def test_a_damaged_source_is_named(own_files):
    folder = own_files / "mnist"
    label = folder / "train-labels-idx1-ubyte"
    whole = label.read_bytes()
    for content, message in [
        (whole[:-1] + bytes([(whole[-1] + 1) % 10]), "expected MD5"),
        (whole[:-5], "truncated"),
        (b"<html>", "expected an IDX file"),
    ]:
        label.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            _sources.read_source("mnist", own_files)
    label.write_bytes(whole)
    archive = folder / "train-images-idx3-ubyte.gz"
    archive.write_bytes(archive.read_bytes()[:-20])
    with pytest.raises(ValueError, match="expected a whole gzip file"):
        _sources.read_source("mnist", own_files)


def test_a_missing_file_beside_the_others_is_named(own_files):
    (own_files / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="t10k-labels-idx1-ubyte"):
        _sources.read_source("mnist", own_files)


def test_an_absent_source_says_which_command_brings_it(monkeypatch):
    monkeypatch.setattr(_sources, "find_source", lambda *_: None)
    with pytest.raises(
        FileNotFoundError, match="apt-get install dataset-fashion-mnist"
    ):
        _sources.read_source("fashion")
    with pytest.raises(FileNotFoundError, match=r"pip install 'paretax\[data\]'"):
        _sources.read_source("mnist")


def test_an_unknown_name_is_answered_with_the_nearest():
    for call in (data.load, data.prepare, data.info, data.status):
        with pytest.raises(ValueError, match="Did you mean 'multi_mnist/fashion'"):
            call("multi_mnist/fashon")


def test_info_and_names_agree():
    for name in data.names():
        assert data.info(name)["name"] == name
        assert data.info(name)["status"] == data.status(name)


def test_real_mnist_passes_its_checksums():
    mnist = _sources.read_source("mnist")
    assert mnist.train_image.shape == (60000, 28, 28)
    assert np.bincount(mnist.test_label).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009
    ]  # fmt: skip


@pytest.mark.skipif(not FASHION, reason="the package dataset-fashion-mnist is absent")
def test_real_fashion_mnist_passes_its_checksums():
    fashion = _sources.read_source("fashion")
    assert np.bincount(fashion.train_label).tolist() == [6000] * 10


def test_data_is_prepared_without_tensorflow():
    code = (
        "import sys, paretax.data._builder\n"
        "print('tensorflow' in sys.modules, 'pureml' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False False", done.stderr


def test_idx_headers_are_big_endian():
    array = np.zeros((2, 3), np.uint8)
    assert _sources._header(array) == b"\0\0\x08\x02" + struct.pack(">II", 2, 3)


def test_damaged_or_absent_copies_are_made_again_from_the_records(own_files, tmp_path):
    def load():
        return data.load(
            "multi_mnist", data_dir=tmp_path / "data", manual_dir=own_files
        )

    before = np.array(load().train.image)
    copy = tmp_path / "data/multi_mnist/mnist/1.0.0/train-image.npy"
    for damage in (
        lambda: copy.write_bytes(copy.read_bytes()[:-1000]),
        lambda: copy.write_bytes(b""),
        copy.unlink,
    ):
        damage()
        np.testing.assert_array_equal(load().train.image, before)


def test_a_damaged_package_archive_is_named(tmp_path):
    whole = _sources.find_source("mnist").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    for content in (whole[:-5000], bytes(flipped), b"not a zip file"):
        path = tmp_path / "mnist.zip"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="expected a whole archive"):
            _sources._read_zarr(path)
