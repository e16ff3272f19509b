"""Small files in the formats of the real sources, with checksums that fit them."""

import gzip
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

from paretax.data import _census_income, _qm9, _solar_flare, _yeast

CENSUS_ROWS = (90, 60)


def write(monkeypatch, folder: Path, module, name: str, text: str) -> Path:
    """A source's file in `folder`, and its MD5 in `module` where that is looked up."""
    file = getattr(module, name)
    content = text.encode()
    monkeypatch.setattr(
        module, name, file._replace(md5=hashlib.md5(content).hexdigest())
    )
    path = folder / Path(file.path).name
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed(path, content))
    return path


def packed(path: Path, content: bytes) -> bytes:
    if path.suffix == ".gz":
        return gzip.compress(content)
    if path.suffix == ".zip":
        raw = io.BytesIO()
        with zipfile.ZipFile(raw, "w") as archive:
            archive.writestr("data.csv", content)
        return raw.getvalue()
    return content


def yeast_text(rows=40, seed=0) -> str:
    rng = np.random.default_rng(seed)
    lines = [",".join((*_yeast.FEATURES, *_yeast.LABELS))]
    for _ in range(rows):
        numbers = [f"{x:.6f}" for x in rng.normal(3.0, 2.0, 103)]
        labels = [str(x) for x in rng.integers(0, 2, 14)]
        lines.append(",".join(numbers + labels))
    return "\n".join(lines) + "\n"


def flare_text(rows=30, seed=0) -> str:
    rng = np.random.default_rng(seed)
    names = (*_solar_flare._LETTERS, *_solar_flare._GRADES, *_solar_flare.TARGETS)
    lines = [",".join(names)]
    for i in range(rows):
        letters = [rng.choice(list(known)) for known in _solar_flare._LETTERS.values()]
        grades = [str(x) for x in rng.integers(1, 4, 6)] + ["1"]
        counts = [str(i % 4), str(i % 3), str(int(i % 6 == 0))]
        lines.append(",".join(letters + grades + counts))
    return "\n".join(lines) + "\n"


def census_texts(seed=0) -> list[str]:
    """Train and test; the test file has a race that the other lacks."""
    rng = np.random.default_rng(seed)
    texts = []
    for part, rows in enumerate(CENSUS_ROWS):
        lines = []
        for i in range(rows):
            row = {name: f" {rng.integers(3)}" for name in _census_income.COLUMNS}
            row["age"] = f" {rng.integers(90)}"
            row["dividends"] = f" {rng.integers(2) * 100}"
            row["instance_weight"] = f" {rng.random() * 1000:.2f}"
            row["education"] = " " + rng.choice(_census_income._EDUCATION)
            row["marital_status"] = " " + rng.choice(_census_income._MARITAL)
            row["income"] = " " + rng.choice(_census_income._INCOME)
            row["race"] = " Martian" if part and i == 0 else " " + "AB"[i % 2]
            lines.append(",".join(row.values()).strip())
        texts.append("\n".join(lines) + "\n")
    return texts


METHANE = (
    "['C','H','H','H','H']",
    "[[-0.0126981359,1.0858041578,0.0080009958],"
    "[0.002150416,-0.0060313176,0.0019761204],"
    "[1.0117308433,1.4637511618,0.0002765748],"
    "[-0.540815069,1.4475266138,-0.8766437152],"
    "[-0.5238136345,1.4379326443,0.9063972942]]",
    "0.", "13.21", "-0.3877", "0.1171", "35.3641", "0.044749", "-40.47893",
    "-40.476062", "-40.475117", "-40.498597", "6.469",
)  # fmt: skip
HYDROGEN = (
    "['H','H']", "[[0.,0.,0.],[0.,0.,7.4E-1]]",
    "0.1", "5.", "-0.4", "0.2", "10.", "0.01", "-1.16", "-1.158", "-1.157", "-1.17",
    "5.0",
)  # fmt: skip


def molecules_text(rows) -> str:
    names = ["Elements", "XYZ_Ang", *(column for column, _, _ in _qm9.TARGETS.values())]
    lines = [",".join(["Index", *names])]
    lines += [",".join(f'"{x}"' for x in (i, *row)) for i, row in enumerate(rows)]
    return "\n".join(lines) + "\n"


def put_molecules(monkeypatch, folder: Path, texts) -> None:
    files = []
    for file, text in zip(_qm9.FILES, texts, strict=True):
        content = text.encode()
        files.append(file._replace(md5=hashlib.md5(content).hexdigest()))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / Path(file.path).name).write_bytes(content)
    monkeypatch.setattr(_qm9, "FILES", tuple(files))


def put_census(monkeypatch, folder: Path, texts) -> None:
    for name, text in zip(("TRAIN", "TEST"), texts, strict=True):
        write(monkeypatch, folder, _census_income, name, text)
