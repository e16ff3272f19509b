"""A weighting is in the library only when it is everywhere it has to be."""

import inspect
from pathlib import Path

import method_table
import pytest
from zoo import WEIGHTINGS, ZOO

import paretax as px
from paretax import coordinatewise, weightings

ROOT = Path(__file__).parent.parent
EVERY = pytest.mark.parametrize("name", list(ZOO))


def factory(name):
    """What makes a row; a row's first word names it, further words say how."""
    for room in (px, coordinatewise):
        if hasattr(room, name.split()[0]):
            return getattr(room, name.split()[0])
    raise AssertionError(f"{name}: no factory of that name")


def test_the_zoo_the_exports_and_the_root_hold_the_same_names():
    states = {name for name in coordinatewise.__all__ if name.endswith("State")}
    public = {*weightings.__all__, *coordinatewise.__all__} - states
    assert public <= set(ZOO)
    assert {name.split()[0] for name in ZOO} == public
    for name in weightings.__all__:
        assert getattr(px, name) is getattr(weightings, name)
        assert name in px.__all__


@EVERY
def test_the_changelog_names_it(name):
    assert f"`{name.split()[0]}`" in (ROOT / "CHANGELOG.md").read_text()


def test_the_readmes_table_says_what_the_zoo_says():
    readme = method_table.README.read_text()
    assert readme == method_table.written(readme), "run python tests/method_table.py"


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_needs_is_what_the_weighting_says(name):
    weighting = ZOO[name].make(2)
    assert bool(weighting.needs_gram(weighting.init(2))) == (ZOO[name].needs == "K")


@EVERY
def test_the_docstring_has_every_part(name):
    text = inspect.getdoc(factory(name)) or ""
    for part in ("Returns:", "Example:", "Cost:", "Reference:", ">>> "):
        assert part in text, f"{name} lacks {part}"
    if inspect.signature(factory(name)).parameters:
        assert "Args:" in text
        assert "Raises:" in text


@EVERY
def test_hyper_parameters_are_keyword_only(name):
    if name == "fixed":
        return
    parameters = dict(inspect.signature(factory(name)).parameters)
    # What a wrapper wraps, and the m of a transformation, are no hyper-parameters.
    for first in ("weighting", "make", "num_tasks"):
        parameters.pop(first, None)
    for parameter in parameters.values():
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
