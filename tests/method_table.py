"""The README's table of methods, written from the zoo: `python tests/method_table.py`.

Laws and costs are stated once, in the rows of the zoo; the README shows what the
conformance suite holds.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
from zoo import ZOO, Entry

import paretax as px

README = Path(__file__).parent.parent / "README.md"
BEGIN = "<!-- methods: written by tests/method_table.py -->"
END = "<!-- end of methods -->"

_NEEDS = {"nothing": "–", "losses": "losses", "K": "K", "J": "J", "J2": "J₁J₂ᵀ"}
_PASSES = {"nothing": "1", "losses": "1", "K": "m", "J": "m", "J2": "2m + 1"}
_LAWS = {
    "simplex": "simplex",
    "agreement": "harms no task",
    "scale_invariant": "scale-invariant",
    "vanishing": "0 at stationary points",
    "linear": "linear in J",
}


def laws(entry: Entry) -> str:
    """The claimed laws, in the words of the table."""
    claimed = [word for law, word in _LAWS.items() if getattr(entry, law)]
    return ", ".join(claimed) or "–"


def _reads_losses(entry: Entry) -> bool:
    """Whether a row that reads the Gramian asks for the losses too."""
    made = entry.make(2)
    if entry.needs != "K" or not isinstance(made, px.Weighting):
        return False
    try:
        jax.eval_shape(lambda: made.update(jnp.eye(2), made.init(2)))
    except ValueError as error:
        return "losses" in str(error)
    return False


def table() -> str:
    """One line a row of the zoo, between a header and nothing."""
    lines = [
        "| name | paper | needs | laws | backward passes |",
        "|---|---|---|---|---|",
    ]
    for name, entry in ZOO.items():
        needs = _NEEDS[entry.needs] + (", losses" if _reads_losses(entry) else "")
        passes = entry.passes or _PASSES[entry.needs]
        lines.append(
            f"| `{name}` | {entry.paper} | {needs} | {laws(entry)} | {passes} |"
        )
    return "\n".join(lines)


def written(readme: str) -> str:
    """The README with the table that the zoo asks for."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(written(README.read_text()))
