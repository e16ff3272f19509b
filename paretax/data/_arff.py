"""ARFF files, dense and sparse, as arrays."""

import math
import re
from typing import NamedTuple

import numpy as np

__all__ = ["Arff", "Attribute", "parse_arff"]

_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_ATTRIBUTE = re.compile(rf"@attribute\s+({_QUOTED}|\S+)\s+(.+)", re.I)
_FIELD = re.compile(rf"\s*((?:{_QUOTED}|[^,'\"])*?)\s*(?:,|$)")
_NUMERIC = ("numeric", "real", "integer")


class Attribute(NamedTuple):
    """A column: its name, and its values where it is nominal, else None."""

    name: str
    values: tuple[str, ...] | None


class Arff(NamedTuple):
    """A parsed file.

    Attributes:
      relation: what @relation says; Mulan and MEKA put options there.
      attributes: d columns.
      rows: float64, shape [n, d]: numbers, or places in the values; NaN for "?".
    """

    relation: str
    attributes: tuple[Attribute, ...]
    rows: np.ndarray


def parse_arff(content: bytes, place: str) -> Arff:
    """Read an ARFF file of numeric and nominal attributes.

    Args:
      content: the file.
      place: what messages call it.

    Returns:
      An `Arff`. In a sparse row what is left out is 0: the number, or the first value.

    Raises:
      ValueError: no UTF-8, no @data, an attribute that is neither numeric nor nominal,
        a row with too many or too few values, a value that was not declared. Names the
        line.
    """
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{place}: expected text in UTF-8, got {error}.") from error
    relation, attributes, start = _header(lines, place)
    readers = [_reader(attribute) for attribute in attributes]
    rows = [
        _row(line.strip(), readers, f"{place}, line {number}")
        for number, line in enumerate(lines[start:], start + 1)
        if line.strip() and not line.lstrip().startswith("%")
    ]
    return Arff(relation, attributes, np.array(rows).reshape(-1, len(attributes)))


def _header(lines, place):
    relation, attributes = "", []
    for number, line in enumerate(lines, 1):
        line = line.strip()
        word = line.split(None, 1)[0].lower() if line else ""
        if word == "@relation":
            relation = _plain(line[len(word) :].strip())
        elif word == "@attribute":
            attributes.append(_attribute(line, f"{place}, line {number}"))
        elif word == "@data":
            return relation, tuple(attributes), number
    raise ValueError(
        f"{place}: expected a line @data, got none in {len(lines)} lines; is the file "
        "truncated?"
    )


def _attribute(line, place):
    found = _ATTRIBUTE.match(line)
    if found is None:
        raise ValueError(f"{place}: expected @attribute NAME TYPE, got {line[:80]!r}.")
    name, kind = _plain(found[1]), found[2].strip()
    if kind.startswith("{") and kind.endswith("}"):
        return Attribute(name, tuple(_fields(kind[1:-1])))
    if kind.split()[0].lower() in _NUMERIC:
        return Attribute(name, None)
    raise ValueError(
        f"{place}: expected numeric or {{...}} as the type of {name}, got "
        f"{kind[:60]!r}."
    )


def _fields(text):
    """What stands between commas, quotes taken away."""
    if "'" not in text and '"' not in text:
        return [field.strip() for field in text.split(",")]
    fields, at = [], 0
    while at <= len(text):
        found = _FIELD.match(text, at)
        if found is None:
            raise ValueError(
                f"expected values between commas, got {text[at : at + 40]!r}"
            )
        fields.append(_plain(found[1]))
        at = found.end() + (found.end() == len(text) and not found[0].endswith(","))
    return fields


def _plain(text):
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text


def _reader(attribute):
    """Text of one value → its number."""
    if attribute.values is None:
        return _number
    index = {value: float(i) for i, value in enumerate(attribute.values)}

    def read(text):
        if text == "?":
            return np.nan
        if text not in index:
            raise ValueError(
                f"expected one of {list(index)} for {attribute.name}, got {text!r}"
            )
        return index[text]

    return read


def _number(text):
    if text == "?":
        return np.nan
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"expected a finite number or ?, got {text!r}")
    return number


def _row(line, readers, place):
    try:
        if line.startswith("{") and line.endswith("}"):
            return _sparse(line[1:-1], readers)
        fields = _fields(line)
        if len(fields) != len(readers):
            raise ValueError(f"expected {len(readers)} values, got {len(fields)}")
        return [read(field) for read, field in zip(readers, fields, strict=True)]
    except ValueError as error:
        raise ValueError(f"{place}: {error}.") from error


def _sparse(text, readers):
    row = [0.0] * len(readers)
    before = -1
    for field in _fields(text) if text.strip() else []:
        index, *value = field.split(None, 1)
        place = int(index)
        if not before < place < len(readers):
            raise ValueError(
                f"expected increasing indices below {len(readers)}, got {place} after "
                f"{before}"
            )
        row[place] = readers[place](_plain("".join(value)))
        before = place
    return row
