"""Sets of pictures, from tiny folders and mock records: contents, faults, storage."""

import hashlib

import numpy as np
import pytest

from paretax import data
from paretax.data import _celeb_a, _dense

SETS = {"nyuv2": "NYUV2", "cityscapes": "CITYSCAPES"}
COUNTS = {"train": 10, "val": 3}
SIZE = (4, 6)


def put(monkeypatch, folder, name):
    """A folder of tiny pictures, and a definition that asks for so many, so small."""
    known = getattr(_dense, SETS[name])._replace(size=SIZE, counts=COUNTS)
    monkeypatch.setattr(_dense, SETS[name], known)
    rng = np.random.default_rng(0)
    top = known.tasks[0].outputs
    for part, count in COUNTS.items():
        for row in range(count):
            arrays = {
                "image": rng.random((*SIZE, 3)),
                "segmentation": rng.integers(-1, top, SIZE).astype(float),
                "depth": rng.random((*SIZE, 1)) * rng.integers(0, 2, (*SIZE, 1)),
                "normal": rng.uniform(-0.5, 0.5, (*SIZE, 3)),
            }
            arrays["normal"][0, 0] = 0
            for field, directory in known.folders.items():
                path = folder / part / directory / f"{row}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, arrays[field])
    return known


def source_of(folder, known, field, part):
    paths = [folder / part / known.folders[field] / f"{i}.npy" for i in range(99)]
    return np.stack([np.load(path) for path in paths if path.is_file()])


def by_bytes(array):
    return sorted(np.ascontiguousarray(row).tobytes() for row in array)


@pytest.mark.parametrize("name", SETS)
def test_a_folder_is_prepared_and_loaded_with_what_is_missing_masked(
    monkeypatch, tmp_path, name
):
    known = put(monkeypatch, tmp_path / "own", name)
    assert data.status(name, tmp_path / "data").startswith("manual: unpack")
    monkeypatch.setenv(known.variable, str(tmp_path / "own"))
    assert data.status(name, tmp_path / "data") == "can be prepared"
    loaded = data.load(name, data_dir=tmp_path / "data")
    assert data.status(name, tmp_path / "data") == "ready"
    assert loaded.tasks == known.tasks
    assert loaded.task_names == tuple(known.folders)[1:]
    held_out = loaded.statistics["validation"]
    assert len(held_out) == 1
    kept = [row for row in range(10) if row not in held_out]
    for split, part, rows in [
        (loaded.train, "train", kept),
        (loaded.validation, "train", held_out),
        (loaded.test, "val", [0, 1, 2]),
    ]:
        assert split._fields == tuple(known.folders)
        image = source_of(tmp_path / "own", known, "image", part)[rows]
        assert by_bytes(split.image) == by_bytes(image.astype(np.float32))
        label = source_of(tmp_path / "own", known, "segmentation", part)[rows]
        assert by_bytes(split.segmentation) == by_bytes(label.astype(np.int32))
        depth = source_of(tmp_path / "own", known, "depth", part)[rows]
        assert np.isnan(split.depth).sum() == (depth == 0).sum() > 0
        np.testing.assert_array_equal(np.nan_to_num(split.depth) > 0, split.depth > 0)
        depth = depth.astype(np.float32)
        assert by_bytes(np.nan_to_num(split.depth)) == by_bytes(depth)
    if name == "nyuv2":
        assert np.isnan(loaded.train.normal[:, 0, 0]).all()
        assert np.isfinite(loaded.train.normal[:, 1:]).all()
    rows = data.records(name, "test", data_dir=tmp_path / "data")
    assert by_bytes([row["image"] for row in rows]) == by_bytes(loaded.test.image)
    with pytest.raises(ValueError, match="split: expected one of"):
        data.records(name, "val", data_dir=tmp_path / "data")


def damaged(path, change):
    values = np.load(path)
    change(values)
    np.save(path, values)


def set_first(value):
    def change(values):
        values[0, 0] = value

    return change


FAULTS = {
    "no folder": (
        lambda own: (own / "train" / "depth").rename(own / "elsewhere"),
        "expected a folder depth; is nyuv2 unpacked whole",
    ),
    "half an archive": (
        lambda own: (own / "val" / "normal" / "2.npy").unlink(),
        "expected 3 files from 0.npy to 2.npy, got 2: 2.npy is absent",
    ),
    "another file": (
        lambda own: np.save(own / "val" / "label" / "3.npy", np.zeros(1)),
        "got 4: 3.npy is extra",
    ),
    "truncated": (
        lambda own: (own / "val" / "image" / "1.npy").write_bytes(
            (own / "val" / "image" / "1.npy").read_bytes()[:-8]
        ),
        r"1\.npy: expected a whole .npy file",
    ),
    "shape": (
        lambda own: np.save(own / "val" / "image" / "1.npy", np.zeros((4, 6))),
        r"expected shape \(4, 6, 3\), got \(4, 6\)",
    ),
    "label": (
        lambda own: damaged(own / "val" / "label" / "0.npy", set_first(13)),
        r"label/0\.npy: expected a class from 0 to 12, or -1 for none, got 13",
    ),
    "half a class": (
        lambda own: damaged(own / "val" / "label" / "0.npy", set_first(0.5)),
        "got 0.5",
    ),
    "nan": (
        lambda own: damaged(own / "train" / "depth" / "5.npy", set_first(np.nan)),
        r"depth/5\.npy: expected finite numbers",
    ),
    "bytes": (
        lambda own: damaged(own / "train" / "image" / "5.npy", set_first(255)),
        r"brightness in \[0, 1\], got 255",
    ),
    "normal": (
        lambda own: damaged(own / "train" / "normal" / "5.npy", set_first(2)),
        r"normals in \[-1, 1\], got 2",
    ),
    "md5": (
        lambda own: (own / "checksums.md5").write_text("0" * 32 + "  val/depth/1.npy"),
        "expected MD5 0000.* as checksums.md5 has it",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_folder_is_named_and_nothing_is_cached(monkeypatch, tmp_path, fault):
    put(monkeypatch, tmp_path / "own", "nyuv2")
    spoil, message = FAULTS[fault]
    spoil(tmp_path / "own")
    with pytest.raises(ValueError, match=message):
        data.load("nyuv2", data_dir=tmp_path / "data", manual_dir=tmp_path / "own")
    assert data.status("nyuv2", tmp_path / "data") != "ready"
    assert not list((tmp_path / "data").rglob("*.npy"))
    assert not list((tmp_path / "data").rglob("*.array_record"))


def test_an_empty_split_and_an_absent_folder_are_named(monkeypatch, tmp_path):
    known = put(monkeypatch, tmp_path / "own", "cityscapes")
    few = known._replace(counts={"train": 9, "val": 3})
    for name in known.folders.values():
        (tmp_path / "own" / "train" / name / "9.npy").unlink()
    with pytest.raises(ValueError, match="got none in validation"):
        _dense.compose(few, tmp_path / "own")
    monkeypatch.delenv(known.variable, raising=False)
    with pytest.raises(FileNotFoundError, match="name that in CITYSCAPES_DIR"):
        data.load("cityscapes", data_dir=tmp_path / "data")


def test_checksums_that_fit_pass(monkeypatch, tmp_path):
    known = put(monkeypatch, tmp_path, "cityscapes")
    path = tmp_path / "val" / "depth" / "1.npy"
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    (tmp_path / "checksums.md5").write_text(f"{digest} *./val/depth/1.npy\n")
    depth = list(_dense.compose(known, tmp_path).splits["test"].depth)
    assert len(depth) == 3


# ---- CelebA ----


def test_the_records_of_tfds_become_small_pictures_and_forty_labels(tmp_path):
    """On mock records, which have the true shapes and random pictures."""
    import tensorflow_datasets as tfds
    from PIL import Image

    with tfds.testing.mock_data(num_examples=2):
        contents = _celeb_a.compose(tmp_path)
        source = _celeb_a._sources(tmp_path)["train"]
        split = contents.splits["train"]
        pairs = list(zip(split.image, split.label, strict=True))
        rows = [source[i] for i in range(2)]
    assert [spec.name for spec in contents.tasks] == list(rows[0]["attributes"])
    for (image, label), row in zip(pairs, rows, strict=True):
        assert (image.shape, image.dtype) == ((64, 64, 3), np.uint8)
        assert label.tolist() == [int(x) for x in row["attributes"].values()]
        whole = Image.fromarray(row["image"])
        small = np.asarray(whole.resize((64, 64), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(image, small)


def faces(count, **changes):
    rng = np.random.default_rng(count)
    return [
        {
            "image": rng.integers(0, 256, (218, 178, 3), np.uint8),
            "attributes": {name: bool(rng.integers(2)) for name in _celeb_a.ATTRIBUTES},
        }
        | changes
        for _ in range(count)
    ]


def use(monkeypatch, train, validation, test):
    own = {"train": train, "validation": validation, "test": test}
    monkeypatch.setattr(_celeb_a, "_sources", lambda manual_dir: own)
    return own


def test_faces_are_stored_and_loaded(monkeypatch, tmp_path):
    own = use(monkeypatch, faces(5), faces(2), faces(3))
    loaded = data.load("celeb_a", data_dir=tmp_path)
    assert loaded.task_names == _celeb_a.ATTRIBUTES
    for split, rows in own.items():
        got = getattr(loaded, split)
        assert got.image.shape == (len(rows), 64, 64, 3)
        wanted = [np.array(list(r["attributes"].values()), np.int32) for r in rows]
        assert by_bytes(got.label) == by_bytes(wanted)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (faces(1, attributes={"Bald": True}), "got others: 5_o_Clock_Shadow"),
        (
            faces(1, attributes=dict.fromkeys(_celeb_a.ATTRIBUTES, 2)),
            "row 0: expected 0 or 1",
        ),
        (faces(1, image=np.zeros((5, 5), np.uint8)), "expected a uint8 picture"),
        ([], "got none in test"),
    ],
    ids=["attributes", "label", "picture", "empty"],
)
def test_a_faulty_face_is_named_and_nothing_is_cached(
    monkeypatch, tmp_path, bad, message
):
    use(monkeypatch, faces(1), faces(1), bad)
    with pytest.raises(ValueError, match=message):
        data.load("celeb_a", data_dir=tmp_path)
    assert not list(tmp_path.rglob("*.npy"))
    assert data.status("celeb_a", tmp_path) != "ready"


def test_without_records_and_tensorflow_a_command_is_named(monkeypatch, tmp_path):
    import tensorflow_datasets as tfds

    class Builder:
        def download_and_prepare(self):
            raise ModuleNotFoundError("No module named 'tensorflow'")

    monkeypatch.setattr(tfds, "builder", lambda *_, **__: Builder())
    with pytest.raises(FileNotFoundError, match=r"paretax\[data,tf\]"):
        _celeb_a.compose(tmp_path)
    monkeypatch.setattr(_celeb_a.importlib.util, "find_spec", lambda name: None)
    assert _celeb_a.missing(tmp_path) == "missing: pip install 'paretax[data,tf]'"
    facts = tmp_path / "celeb_a" / "2.1.0" / "dataset_info.json"
    facts.parent.mkdir(parents=True)
    facts.write_text("{}")
    assert _celeb_a.missing(tmp_path) is None
