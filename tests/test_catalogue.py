"""A weighting is in the library only when it is everywhere it has to be."""

import inspect
from pathlib import Path

import pytest
from zoo import ZOO

import paretax as px
from paretax import weightings

ROOT = Path(__file__).parent.parent
EVERY = pytest.mark.parametrize("name", list(ZOO))


def test_the_zoo_the_exports_and_the_root_hold_the_same_names():
    assert sorted(ZOO) == sorted(weightings.__all__)
    for name in weightings.__all__:
        assert getattr(px, name) is getattr(weightings, name)
        assert name in px.__all__


@EVERY
def test_the_readme_and_the_changelog_name_it(name):
    readme = (ROOT / "README.md").read_text()
    assert f"| `{name}` |" in readme
    assert f"`{name}`" in (ROOT / "CHANGELOG.md").read_text()


@EVERY
def test_the_readmes_row_says_what_the_zoo_says(name):
    entry = ZOO[name]
    rows = (ROOT / "README.md").read_text().splitlines()
    row = next(line for line in rows if line.startswith(f"| `{name}` |"))
    cost = {"nothing": "1", "losses": "1", "K": "m"}[entry.needs]
    needs = {"nothing": "–", "losses": "losses", "K": "K"}[entry.needs]
    assert row == (
        f"| `{name}` | {entry.paper} | {needs} | {', '.join(laws(entry))} | {cost} |"
    )


@EVERY
def test_needs_is_what_the_weighting_says(name):
    weighting = ZOO[name].make(2)
    assert bool(weighting.needs_gram(weighting.init(2))) == (ZOO[name].needs == "K")


@EVERY
def test_the_docstring_has_every_part(name):
    text = inspect.getdoc(getattr(px, name)) or ""
    for part in ("Returns:", "Example:", "Cost:", "Reference:", ">>> "):
        assert part in text, f"{name} lacks {part}"
    if inspect.signature(getattr(px, name)).parameters:
        assert "Args:" in text
        assert "Raises:" in text


@EVERY
def test_hyper_parameters_are_keyword_only(name):
    if name == "fixed":
        return
    parameters = dict(inspect.signature(getattr(px, name)).parameters)
    parameters.pop("weighting", None)  # what a wrapper wraps is no hyper-parameter
    for parameter in parameters.values():
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY


def laws(entry):
    """The claimed laws, in the words of the README's table."""
    words = {
        "simplex": "simplex",
        "agreement": "harms no task",
        "scale_invariant": "scale-invariant",
        "vanishing": "0 at stationary points",
    }
    claimed = [word for law, word in words.items() if getattr(entry, law)]
    return claimed or ["linear"]
