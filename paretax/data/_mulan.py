"""Any data set of Mulan in a folder: ARFF files, and XML that names its targets.

A set NAME is NAME.arff, or NAME-train.arff and NAME-test.arff. Its targets are the
labels of NAME.xml, or those that MEKA's option "-C n" in @relation counts from the
front (n > 0) or from the back (n < 0). A target without a value ("?") is a fault, but
for labels with the attribute missing="masked" in NAME.xml, as in <label name="bird"
missing="masked"/>: our own word, which Mulan does not know. Where there is a file
NAME.md5, as md5sum writes it, the ARFF files are checked against it.
"""

import hashlib
import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

import numpy as np

from paretax.data._arff import Arff, Attribute, parse_arff
from paretax.data._columns import standardize
from paretax.data._contents import Contents, Table, TaskSpec, check_contents, deal
from paretax.data._files import MissingSourceError
from paretax.data._yeast import rarest_label

__all__ = ["ABOUT", "HINT", "compose", "digest", "found", "mulan_dir"]

HINT = (
    "put NAME.arff and NAME.xml (or NAME-train.arff, NAME-test.arff and NAME.xml) of "
    "any set of Mulan into a folder, and name that in MULAN_DIR"
)
ABOUT = {
    "features": "numbers standardized, nominal values one-hot",
    "tasks": "labels: binary cross-entropy, accuracy; numbers: squared error, R2",
    "splits": "Mulan's test file where there is one, else 3 : 1 : 1",
    "sources": "files of your own, as https://mulan.sourceforge.net has them",
}
_TRAIN, _TEST = "-train", "-test"
_BINARY = ({"0", "1"}, {"false", "true"}, {"no", "yes"})
_SEED = 20260101


class _Part(NamedTuple):
    features: np.ndarray
    targets: np.ndarray


def mulan_dir(manual_dir: str | os.PathLike | None = None) -> Path | None:
    """The folder of the sets: `manual_dir`, or MULAN_DIR, if it is there."""
    folder = manual_dir or os.environ.get("MULAN_DIR")
    return Path(folder) if folder and Path(folder).is_dir() else None


def found(manual_dir: str | os.PathLike | None = None) -> tuple[str, ...]:
    """The names of the sets that lie there."""
    folder = mulan_dir(manual_dir)
    stems = sorted(path.stem for path in folder.glob("*.arff")) if folder else []
    halves = {
        stem.removesuffix(_TRAIN)
        for stem in stems
        if stem.endswith(_TRAIN) and stem.removesuffix(_TRAIN) + _TEST in stems
    }
    parts = {name + end for name in halves for end in (_TRAIN, _TEST)}
    return tuple(sorted(halves | (set(stems) - parts)))


def digest(name: str, manual_dir: str | os.PathLike | None = None) -> str:
    """Eight hexadecimal digits that tell this set from another of the same name."""
    total = hashlib.md5()
    for path in _files(name, manual_dir):
        total.update(hashlib.md5(path.read_bytes()).digest())
    return total.hexdigest()[:8]


def compose(name: str, manual_dir: str | os.PathLike | None = None) -> Contents:
    """A set as features [n, d] and label [n, m].

    Numeric features are standardized by the training split, nominal ones of two values
    are 0 or 1, others one-hot; a missing one becomes the mean, or all zeros. Targets of
    two values {0, 1} are binary tasks, numeric ones regressions, all of one kind.
    Mulan's own test file is the test split where there is one, and a fifth of the other
    the validation split; else rows are dealt 3 : 1 : 1 within the strata of the rarest
    label.

    A missing target of a masked task is −1 among classes, else NaN; it counts as 0 in
    the strata, and means and scales are those of the others.

    Raises:
      MissingSourceError: no such set.
      ValueError: a damaged file, no targets or no such ones, a missing target that no
        mask allows, or a split without any value of a task.
    """
    files = [path for path in _files(name, manual_dir) if path.suffix == ".arff"]
    _check_sums(name, files)
    arffs = [parse_arff(path.read_bytes(), path.name) for path in files]
    if len(arffs) == 2 and arffs[0].attributes != arffs[1].attributes:
        raise ValueError(
            f"{files[1].name}: expected the attributes of {files[0].name}, got others."
        )
    names, masked = _targets(name, arffs[0], files[0].parent)
    binary = _binary(name, arffs[0].attributes, names)
    parts = [_part(arff, names) for arff in arffs]
    features, targets, rows = _split(parts, binary)
    _check_targets(name, targets, names, masked, rows)
    features, facts = _scaled(features, rows["train"], arffs[0].attributes, names)
    mean, scale = np.zeros(len(names)), np.ones(len(names))
    if not binary:
        seen = [c[~np.isnan(c), None] for c in targets[rows["train"]].T]
        each = [standardize(column) for column in seen]
        mean, scale = (np.concatenate(both) for both in zip(*each, strict=True))
        targets = (targets - mean) / scale
    tasks = _specs(names, masked, binary, mean, scale)
    splits = {
        split: Table(features[own].astype(np.float32), targets[own].astype(np.float32))
        for split, own in rows.items()
    }
    contents = check_contents(Contents(splits, tasks, facts), f"mulan/{name}")
    if not binary:
        return contents
    whole = {
        split: Table(features, np.nan_to_num(label, nan=-1).astype(np.int32))
        for split, (features, label) in splits.items()
    }
    return contents._replace(splits=whole)


def _specs(names, masked, binary, mean, scale) -> tuple[TaskSpec, ...]:
    tasks = tuple(
        TaskSpec(target, "binary cross-entropy", "accuracy", True)
        if binary
        else TaskSpec(
            target, "squared error", "R2", True, mean=float(mean[i]),
            scale=float(scale[i]),
        )
        for i, target in enumerate(names)
    )  # fmt: skip
    return tuple(
        spec._replace(missing="masked") if spec.name in masked else spec
        for spec in tasks
    )


def _files(name, manual_dir):
    folder = mulan_dir(manual_dir)
    if folder is None or name not in found(manual_dir):
        raise MissingSourceError(
            f"mulan/{name or 'NAME'} was not found on this machine: {HINT}."
        )
    whole = folder / f"{name}.arff"
    both = [folder / f"{name}{end}.arff" for end in (_TRAIN, _TEST)]
    files = both if all(path.is_file() for path in both) else [whole]
    labels = folder / f"{name}.xml"
    return [*files, labels] if labels.is_file() else files


def _check_sums(name, files):
    sums = files[0].parent / f"{name}.md5"
    lines = sums.read_text().splitlines() if sums.is_file() else []
    wanted = {
        words[1].lstrip("*"): words[0].lower()
        for words in map(str.split, lines)
        if len(words) == 2
    }
    for path in files:
        got = hashlib.md5(path.read_bytes()).hexdigest()
        if wanted.get(path.name, got) != got:
            raise ValueError(
                f"{path}: expected MD5 {wanted[path.name]} as {sums.name} has it, got "
                f"{got}; the file is damaged, fetch it again."
            )


def _targets(name: str, arff: Arff, folder: Path) -> tuple[tuple[str, ...], set[str]]:
    """The names of the targets, in the order of the columns, and which are masked."""
    masked = set()
    columns = [attribute.name for attribute in arff.attributes]
    path = folder / f"{name}.xml"
    if path.is_file():
        try:
            tree = ElementTree.fromstring(path.read_bytes())
        except ElementTree.ParseError as error:
            raise ValueError(f"{path}: expected XML, got {error}.") from error
        found = [e for e in tree.iter() if e.tag.split("}")[-1] == "label"]
        labels = [e.get("name") for e in found]
        masked = {str(e.get("name")) for e in found if _is_masked(e, path)}
        absent = [label for label in labels if label not in columns]
        if absent:
            raise ValueError(
                f"{path}: expected attributes of the ARFF file, got {absent[0]!r}."
            )
        wanted = set(labels)
    else:
        option = re.search(r"-C\s+(-?\d+)", arff.relation)
        count = int(option[1]) if option else 0
        wanted = set(columns[:count] if count > 0 else columns[len(columns) + count :])
    if not 0 < len(wanted) < len(columns):
        raise ValueError(
            f"mulan/{name}: expected some columns to be targets and some not, got "
            f"{len(wanted)} of {len(columns)}; name them in {path.name}, as "
            '<labels><label name="..."/></labels>.'
        )
    return tuple(column for column in columns if column in wanted), masked


def _is_masked(label, path) -> bool:
    rule = label.get("missing", "refused")
    if rule not in ("refused", "masked"):
        raise ValueError(
            f'{path}: expected missing="masked" or "refused" of the label '
            f"{label.get('name')}, got {rule!r}."
        )
    return rule == "masked"


def _binary(name, attributes: tuple[Attribute, ...], names) -> bool:
    """Whether the targets are labels; False for numbers."""
    kinds = {a.values for a in attributes if a.name in names}
    if kinds == {None}:
        return False
    for values in kinds:
        if values is None or {value.lower() for value in values} not in _BINARY:
            raise ValueError(
                f"mulan/{name}: expected all targets to be numeric, or all to be "
                f"{{0, 1}}, got {sorted(map(str, kinds))}."
            )
    return True


def _part(arff: Arff, names) -> _Part:
    """Features and targets; a binary target is 1 for the value 1, true or yes."""
    target = np.array([a.name in names for a in arff.attributes])
    targets = arff.rows[:, target].copy()
    for i, attribute in enumerate(a for a in arff.attributes if a.name in names):
        if attribute.values and attribute.values[0].lower() in ("1", "true", "yes"):
            targets[:, i] = 1 - targets[:, i]
    return _Part(arff.rows[:, ~target], targets)


def _split(parts: list[_Part], binary: bool):
    features, targets = (np.concatenate(both) for both in zip(*parts, strict=True))
    strata = np.zeros(len(targets), int)
    if binary:
        strata = rarest_label(np.nan_to_num(targets))
    if len(parts) == 1:
        return features, targets, deal(strata, _SEED)
    first = len(parts[0].targets)
    dealt = deal(strata[:first], _SEED)
    rows = {
        "train": np.sort(np.concatenate([dealt["train"], dealt["test"]])),
        "validation": dealt["validation"],
        "test": np.arange(first, len(targets)),
    }
    return features, targets, rows


def _check_targets(name, targets, names, masked, rows):
    """Before their means are taken: a missing one would spoil every row."""
    absent = np.isnan(targets)
    bad = absent & np.array([target not in masked for target in names])
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"mulan/{name}: expected every target, got none (?) for {names[column]} in "
            f'row {row}; where gaps are meant, say missing="masked" of that label in '
            f"{name}.xml."
        )
    for split, own in rows.items():
        empty = absent[own].all(axis=0) & (len(own) > 0)
        if empty.any():
            raise ValueError(
                f"mulan/{name}: expected values of every target in every split, got "
                f"none of {names[int(np.argmax(empty))]} in {split}."
            )


def _scaled(features, train, attributes, names):
    """Columns as numbers, and what was learned from the training rows."""
    columns, facts = [], {"features": []}
    own = [attribute for attribute in attributes if attribute.name not in names]
    for attribute, column in zip(own, features.T, strict=True):
        missing = np.isnan(column)
        if attribute.values is None:
            seen = column[train][~missing[train]]
            mean, scale = (float(x[0]) for x in standardize(seen[:, None]))
            columns.append(np.where(missing, 0.0, (column - mean) / scale))
            facts["features"].append([attribute.name, mean, scale])
            continue
        places = range(len(attribute.values)) if len(attribute.values) > 2 else [1]
        columns += [(column == place).astype(float) for place in places]
        facts["features"].append([attribute.name, *attribute.values])
    return np.stack(columns, axis=1), facts
