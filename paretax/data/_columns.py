"""Comma-separated text as columns, and columns as numbers."""

import array
import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Column", "codes", "numbers", "read_columns", "standardize"]


class Column(NamedTuple):
    """A column of text, each different value once.

    Attributes:
      name: of the column.
      values: the different values, in order of appearance.
      rows: int32, shape [n], the place in `values` of each row's value.
    """

    name: str
    values: tuple[str, ...]
    rows: np.ndarray


def read_columns(
    content: bytes,
    place: str,
    *,
    header: Sequence[str] | None = None,
    wanted: Sequence[str] = (),
) -> dict[str, Column]:
    """The columns of a CSV file by name.

    Args:
      content: the file.
      place: what messages call it.
      header: the names of the columns; None where the first line holds them.
      wanted: names that must be among them.

    Raises:
      ValueError: no UTF-8, a column is missing, a row has too many or too few fields.
    """
    try:
        lines = io.StringIO(content.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"{place}: expected text in UTF-8, got {error}.") from error
    reader = csv.reader(lines, skipinitialspace=True)
    names = list(header) if header else next(reader, [])
    absent = [name for name in wanted if name not in names]
    if absent:
        raise ValueError(f"{place}: expected a column {absent[0]!r}, got {names}.")
    known: list[dict[str, int]] = [{} for _ in names]
    places = array.array("i")
    for row in reader:
        if len(row) != len(names):
            raise ValueError(
                f"{place}: expected {len(names)} fields in line {reader.line_num}, got "
                f"{len(row)}."
            )
        places.extend(
            [seen.setdefault(v, len(seen)) for seen, v in zip(known, row, strict=True)]
        )
    table = np.array(places, np.int32).reshape(-1, len(names)).T
    return {
        name: Column(name, tuple(seen), table[i].copy())
        for i, (name, seen) in enumerate(zip(names, known, strict=True))
    }


def numbers(column: Column, place: str) -> np.ndarray:
    """A column as float64 [n].

    Raises:
      ValueError: a value is no finite number; names the column and the row.
    """
    out = np.empty(len(column.values))
    for i, value in enumerate(column.values):
        try:
            out[i] = float(value)
        except ValueError:
            out[i] = np.nan
        if not np.isfinite(out[i]):
            raise ValueError(_unexpected(column, i, "a finite number", place))
    return out[column.rows]


def codes(column: Column, vocabulary: Sequence[str], place: str) -> np.ndarray:
    """A column as places in a vocabulary, int32 [n].

    Raises:
      ValueError: a value is not in the vocabulary; names the column and the row.
    """
    index = {value: i for i, value in enumerate(vocabulary)}
    for i, value in enumerate(column.values):
        if value.strip() not in index:
            wanted = f"one of {list(vocabulary)}"
            raise ValueError(_unexpected(column, i, wanted, place))
    lookup = [index[value.strip()] for value in column.values]
    return np.array(lookup, np.int32)[column.rows]


def standardize(train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation [d] of columns [n, d]; 1 for a constant column."""
    if len(train) == 0:
        return np.zeros(train.shape[1]), np.ones(train.shape[1])
    constant = (train == train[0]).all(axis=0)
    return train.mean(axis=0), np.where(constant, 1.0, train.std(axis=0))


def _unexpected(column, value, wanted, place):
    row = int(np.argmax(column.rows == value))
    return (
        f"{place}: expected {wanted} in column {column.name}, got "
        f"{column.values[value]!r} in row {row}."
    )
