"""ARFF files, and the sets of Mulan in a folder."""

import hashlib

import numpy as np
import pytest
from small_sources import write, yeast_text

from paretax import data
from paretax.data import _arff, _mulan, _yeast

SPLITS = ("train", "validation", "test")
LABELS = '<labels xmlns="http://mulan.sourceforge.net/labels">{}</labels>'


def labels(*names):
    return LABELS.format("".join(f'<label name="{n}"></label>' for n in names))


def parse(text):
    return _arff.parse_arff(text.encode(), "set.arff")


HEAD = """% a comment
@RELATION 'a set: -C 2'

@attribute first NUMERIC
@Attribute 'second, quoted' {red, 'light blue', "it's"}
@attribute third integer % not a comment in Mulan's files, but part of the type
@attribute l {0,1}

@DATA
"""


def test_dense_rows_are_numbers_places_and_gaps():
    got = parse(
        HEAD + "1.5,red,-2,1\n\n% no row\n ?, 'light blue' ,3e2,?\n4,\"it's\",0,0"
    )
    assert got.relation == "a set: -C 2"
    assert got.attributes[1] == ("second, quoted", ("red", "light blue", "it's"))
    assert [a.values is None for a in got.attributes] == [True, False, True, False]
    expected = [[1.5, 0, -2, 1], [np.nan, 1, 300, np.nan], [4, 2, 0, 0]]
    np.testing.assert_array_equal(got.rows, expected)


def test_sparse_rows_leave_out_zeros_and_first_values():
    sparse = parse(HEAD + "{0 1.5, 2 -2,3 1}\n{1 'light blue',2 ?}\n{}\n{1\t\"it's\"}")
    dense = parse(HEAD + "1.5,red,-2,1\n0,'light blue',?,0\n0,red,0,0\n0,\"it's\",0,0")
    np.testing.assert_array_equal(sparse.rows, dense.rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "1,red,2\n", "line 10: expected 4 values, got 3"),
        (HEAD + "1,green,2,0\n", "line 10: expected one of .* for second, quoted, got"),
        (HEAD + "one,red,2,0\n", "line 10: could not convert string to float: 'one'"),
        (HEAD + "{4 1}\n", "line 10: expected increasing indices below 4, got 4"),
        (HEAD + "{2 1,1 red}\n", "expected increasing indices below 4, got 1 after 2"),
        (HEAD + "{2 1,2 2}\n", "expected increasing indices"),
        (HEAD + "{0}\n", "line 10: could not convert"),
        (HEAD + "1,red,2,0\n{0 1}, {5}\n", "line 11: could not convert"),
        (HEAD.replace("@DATA", ""), "expected a line @data"),
        (HEAD[:40], "expected a line @data"),
        (
            HEAD.replace("NUMERIC", "string"),
            "expected numeric or .* as the type of first",
        ),
        (HEAD.replace(" NUMERIC", ""), "expected @attribute NAME TYPE"),
    ],
)
def test_a_faulty_arff_file_is_named_with_its_line(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)


def test_an_arff_file_in_another_encoding_is_named():
    with pytest.raises(ValueError, match="UTF-8"):
        _arff.parse_arff("@relation é".encode("latin-1"), "set.arff")


def arff(rows, relation="r", targets=("{0,1}", "{0,1}")):
    head = [f"@relation '{relation}'", "@attribute a numeric", "@attribute b {x,y,z}"]
    head += [f"@attribute t{i} {kind}" for i, kind in enumerate(targets)]
    return "\n".join([*head, "@data", *rows]) + "\n"


def rows(n, numeric=False):
    return [
        f"{i * 0.5},{'xyz'[i % 3]},"
        + (f"{i / 7},{i * i}" if numeric else f"{i % 2},{int(i % 5 == 0)}")
        for i in range(n)
    ]


def test_a_set_in_a_folder_is_found_prepared_and_loaded(tmp_path, monkeypatch):
    own = tmp_path / "own"
    own.mkdir()
    (own / "flowers.arff").write_text(arff(rows(20)))
    (own / "flowers.xml").write_text(labels("t0", "t1"))
    monkeypatch.setenv("MULAN_DIR", str(own))
    assert [n for n in data.names() if "mulan" in n] == ["mulan/flowers"]
    assert data.status("mulan/flowers", tmp_path) == "can be prepared"
    loaded = data.load("mulan", data_dir=tmp_path)
    assert loaded.name == "mulan/flowers"
    assert data.status("mulan/flowers", tmp_path) == "ready"
    assert loaded.task_names == ("t0", "t1")
    assert [len(getattr(loaded, s).label) for s in SPLITS] == [12, 4, 4]
    assert loaded.train.features.shape == (12, 4)
    assert loaded.train.label.dtype == np.int32
    np.testing.assert_allclose(loaded.train.features[:, 0].std(), 1, rtol=1e-6)
    _, mean, scale = loaded.statistics["features"][0]
    for split in SPLITS:
        part = getattr(loaded, split)
        number = np.round((part.features[:, 0] * scale + mean) / 0.5).astype(int)
        np.testing.assert_array_equal(part.features[:, 1:], np.eye(3)[number % 3])
        expected = np.stack([number % 2, number % 5 == 0], axis=1)
        np.testing.assert_array_equal(part.label, expected)
        assert part.label[:, 1].any()  # the rarest label is in every split
    (own / "flowers.arff").write_text(arff(rows(25)))
    assert data.status("mulan/flowers", tmp_path) == "can be prepared"
    assert len(data.load("mulan/flowers", data_dir=tmp_path).train.label) == 15


def test_mulan_s_own_test_file_is_the_test_split(tmp_path):
    (tmp_path / "s-train.arff").write_text(arff(rows(20)))
    (tmp_path / "s-test.arff").write_text(arff(rows(7)))
    (tmp_path / "s.xml").write_text(labels("t1", "t0"))
    assert _mulan.found(tmp_path) == ("s",)
    splits = _mulan.compose("s", tmp_path).splits
    assert [len(splits[s].label) for s in SPLITS] == [16, 4, 7]
    np.testing.assert_array_equal(splits["test"].label[:, 0], np.arange(7) % 2)
    other = arff(rows(7)).replace("@attribute a", "@attribute other")
    (tmp_path / "s-test.arff").write_text(other)
    with pytest.raises(ValueError, match="expected the attributes of s-train"):
        _mulan.compose("s", tmp_path)


def test_numeric_targets_are_standardized_and_gaps_among_features_become_the_mean(
    tmp_path,
):
    lines = rows(20, numeric=True)
    lines[3] = "?,?," + lines[3].split(",", 2)[2]
    (tmp_path / "r.arff").write_text(
        arff(lines, relation="r: -C -2", targets=("numeric", "real"))
    )
    contents = _mulan.compose("r", tmp_path)
    assert [spec.loss for spec in contents.tasks] == ["squared error"] * 2
    train = contents.splits["train"]
    np.testing.assert_allclose(train.label.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(train.label.std(axis=0), 1, atol=1e-6)
    gaps = [s.features[(s.features == 0).all(axis=1)] for s in contents.splits.values()]
    assert sum(map(len, gaps)) == 1
    back = (
        np.concatenate([s.label[:, 1] for s in contents.splits.values()])
        * contents.tasks[1].scale
        + contents.tasks[1].mean
    )
    np.testing.assert_allclose(np.sort(back), np.arange(20.0) ** 2, atol=1e-3)


@pytest.mark.parametrize(
    ("content", "names", "message"),
    [
        (arff(rows(20)), None, "expected some columns to be targets"),
        (
            arff(rows(20)),
            ("t0", "t9"),
            "expected attributes of the ARFF file, got 't9'",
        ),
        (arff(rows(20)), ("a", "b", "t0", "t1"), "expected some columns"),
        (arff(rows(20)), ("a", "t0"), "expected all targets to be numeric, or all"),
        (arff(rows(20)), ("b",), "expected all targets to be numeric, or all"),
        (arff([*rows(20), "1,x,?,0"]), ("t0", "t1"), "got none .*for t0 in row 20"),
        (arff(rows(3)), ("t0", "t1"), "got none in test"),
        (arff([]), ("t0", "t1"), "got none in train"),
        (arff([*rows(20), "inf,x,1,0"]), ("t0", "t1"), "line 27: expected a finite"),
    ],
)
def test_a_faulty_set_is_named_and_nothing_is_cached(tmp_path, content, names, message):
    own = tmp_path / "own"
    own.mkdir()
    (own / "s.arff").write_text(content)
    if names:
        (own / "s.xml").write_text(labels(*names))
    with pytest.raises(ValueError, match=message):
        data.load("mulan/s", data_dir=tmp_path / "data", manual_dir=own)
    assert not (tmp_path / "data").exists() or not list(
        tmp_path.rglob("*array_record*")
    )


def test_a_sum_beside_the_files_is_checked(tmp_path):
    content = arff(rows(20)).encode()
    (tmp_path / "s.arff").write_bytes(content)
    (tmp_path / "s.xml").write_text(labels("t0"))
    total = hashlib.md5(content).hexdigest()
    (tmp_path / "s.md5").write_text(f"{total}  s.arff\n")
    _mulan.compose("s", tmp_path)
    (tmp_path / "s.arff").write_bytes(content[:-4])
    with pytest.raises(ValueError, match=f"expected MD5 {total} as s.md5 has it"):
        _mulan.compose("s", tmp_path)
    (tmp_path / "s.xml").write_text("<labels")
    (tmp_path / "s.arff").write_bytes(content)
    with pytest.raises(ValueError, match="expected XML"):
        _mulan.compose("s", tmp_path)


def test_yeast_as_a_sparse_arff_file_is_the_yeast_of_the_csv_file(
    monkeypatch, tmp_path
):
    """Two readers, one data set: splits, scales and labels agree."""
    text = yeast_text(60)
    write(monkeypatch, tmp_path, _yeast, "YEAST", text)
    names = (*_yeast.FEATURES, *_yeast.LABELS)
    head = ["@relation yeast"]
    head += [f"@attribute {n} numeric" for n in _yeast.FEATURES]
    head += [f"@attribute {n} {{0,1}}" for n in _yeast.LABELS]
    lines = [
        "{" + ",".join(f"{i} {v}" for i, v in enumerate(r.split(",")) if v != "0") + "}"
        for r in text.splitlines()[1:]
    ]
    (tmp_path / "yeast.arff").write_text("\n".join([*head, "@data", *lines]))
    (tmp_path / "yeast.xml").write_text(labels(*names[-14:]))
    ours, theirs = _yeast.compose(tmp_path), _mulan.compose("yeast", tmp_path)
    assert ours.tasks == theirs.tasks
    for split in SPLITS:
        np.testing.assert_allclose(
            ours.splits[split].features, theirs.splits[split].features, atol=1e-6
        )
        np.testing.assert_array_equal(
            ours.splits[split].label, theirs.splits[split].label
        )
