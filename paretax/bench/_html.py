"""The interactive report: one HTML file that needs no network."""

import html
from typing import Any

import plotly.graph_objects as go

from paretax.bench._tables import notes, tables

__all__ = ["page"]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em;
  padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: 0.5em 0 2em; font-size: 13px; }
th, td { padding: 0.2em 0.7em; border-bottom: 1px solid #ddd; text-align: right; }
th { cursor: pointer; background: #f5f5f5; }
th:first-child, td:first-child { text-align: left; }
.wide { overflow-x: auto; }
"""
# A click on a column's head sorts by its first number, or by its text.
_SORT = """
for (const head of document.querySelectorAll("th")) {
  head.onclick = () => {
    const body = head.closest("table").tBodies[0];
    const column = head.cellIndex, up = head.dataset.up !== "1";
    const key = (row) => row.cells[column].textContent.replace("−", "-");
    const rows = [...body.rows].sort((a, b) => {
      const x = parseFloat(key(a)), y = parseFloat(key(b));
      if (isNaN(x) && isNaN(y)) return key(a).localeCompare(key(b));
      if (isNaN(x) || isNaN(y)) return isNaN(x) ? 1 : -1;
      return x - y;
    });
    head.dataset.up = up ? "1" : "0";
    (up ? rows : rows.reverse()).forEach((row) => body.append(row));
  };
}
"""


def page(found: dict[str, Any]) -> str:
    """The whole page.

    Args:
      found: what `summary` returns.

    Returns:
      HTML with plotly's script inside it; it loads nothing.

    Cost: 5 MB of text, most of it plotly.
    """
    figures = [_gains(found), _speed(found)]
    figures += [_curves(name, table) for name, table in found["datasets"].items()]
    drawn = [
        figure.to_html(
            full_html=False,
            include_plotlyjs="inline" if first == 0 else False,
            config={"displaylogo": False},
            div_id=f"figure{first}",
        )
        for first, figure in enumerate(figures)
    ]
    told = "".join(f"<p>{_text(note)}</p>" for note in notes(found))
    shown = "".join(
        f"<h2>{html.escape(heading)}</h2><div class='wide'>{_table(rows)}</div>"
        for heading, rows in tables(found).items()
    )
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f"<title>Benchmark</title><style>{_STYLE}</style></head><body>"
        f"<h1>Benchmark</h1>{told}{''.join(drawn)}{shown}"
        f"<script>{_SORT}</script></body></html>\n"
    )


def _text(note):
    """Markdown's bold and code, of which notes have no more."""
    told = html.escape(note)
    for mark, tag in (("**", "b"), ("`", "code")):
        parts = told.split(mark)
        told = "".join(
            f"<{tag}>{part}</{tag}>" if i % 2 else part for i, part in enumerate(parts)
        )
    return told


def _table(rows):
    head, *body = rows
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    lines = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in body
    )
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table>"


def _gains(found):
    order = sorted(found["overall"], key=lambda name: found["overall"][name]["rank"])
    figure = go.Figure()
    for name, table in found["datasets"].items():
        rows = [table["methods"][method] for method in order]
        figure.add_scatter(
            x=[row["delta_mean"] for row in rows],
            y=order,
            error_x={"type": "data", "array": [row["delta_se"] or 0 for row in rows]},
            mode="markers",
            name=name,
        )
    figure.update_yaxes(autorange="reversed")
    return _laid_out(
        figure,
        "Δm % against single-task models, lower is better; best mean rank on top",
        "Δm %",
        "",
        220 + 24 * len(order),
    )


def _speed(found):
    figure = go.Figure()
    for name, table in found["datasets"].items():
        rows = {
            method: row
            for method, row in table["methods"].items()
            if row["speed"] and row["delta_mean"] is not None
        }
        figure.add_scatter(
            x=[1e3 * row["speed"]["seconds_per_step"] for row in rows.values()],
            y=[row["delta_mean"] for row in rows.values()],
            text=[
                f"{method}: {row['speed']['memory_bytes'] / 1e6:.3g} MB"
                for method, row in rows.items()
            ],
            mode="markers",
            name=name,
        )
    figure.update_xaxes(type="log")
    return _laid_out(figure, "What a step costs, and what it brings", "ms", "Δm %", 460)


def _curves(dataset, table):
    figure = go.Figure()
    for method, row in table["methods"].items():
        if row["curves"] is not None:
            figure.add_scatter(
                x=row["curves"]["steps"],
                y=row["curves"]["validation_delta"],
                mode="lines+markers",
                name=method,
            )
    title = f"{dataset}: Δm % on validation while training, chosen learning rates"
    return _laid_out(figure, title, "step", "Δm %", 460)


def _laid_out(figure, title, x, y, height):
    figure.update_layout(
        title=title,
        xaxis_title=x,
        yaxis_title=y,
        height=height,
        template="plotly_white",
    )
    return figure
