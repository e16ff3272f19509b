"""The README's table of methods, written from the zoo: `python tests/method_table.py`.

Laws and costs are stated once, in the rows of the zoo; the README shows what the
conformance suite holds.
"""

from pathlib import Path

from zoo import ZOO, Entry

README = Path(__file__).parent.parent / "README.md"
BEGIN = "<!-- methods: written by tests/method_table.py -->"
END = "<!-- end of methods -->"

_NEEDS = {"nothing": "–", "losses": "losses", "K": "K", "J": "J"}
_PASSES = {"nothing": "1", "losses": "1", "K": "m", "J": "m"}
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


def table() -> str:
    """One line a row of the zoo, between a header and nothing."""
    lines = [
        "| name | paper | needs | laws | backward passes |",
        "|---|---|---|---|---|",
    ]
    for name, entry in ZOO.items():
        needs = _NEEDS[entry.needs]
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
