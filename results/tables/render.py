"""Renderings of a table: Markdown, CSV, LaTeX (booktabs), HTML."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Callable
from itertools import groupby

from results.tables import escape
from results.tables.latex import latex
from results.tables.model import Cell, Column, Table
from results.tables.pieces import heading, legend, letter, parts

CSV_COLUMNS = (
    "paper",
    "table",
    "backbone",
    "method",
    "task",
    "metric",
    "published",
    "published_std",
    "ours",
    "ours_std",
    "n_seeds",
    "delta",
    "verdict",
    "run_ids",
    "scores",
)
HTML_STYLE = (
    "table.paper{border-collapse:collapse;font:14px/1.4 system-ui,sans-serif}"
    "table.paper td,table.paper th{padding:.25em .6em;text-align:right;white-space:nowrap}"
    "table.paper td:first-child,table.paper th:first-child{text-align:left}"
    "table.paper thead{border-top:2px solid;border-bottom:1px solid}table.paper tbody{border-bottom:2px solid}"
    "table.paper .spread,table.paper .published{color:#666;font-size:.85em}table.paper td.best{font-weight:700}"
    "table.paper caption{caption-side:bottom;text-align:left;padding-top:.5em;white-space:normal}"
)


def render(table: Table, form: str = "markdown") -> str:
    """A table as text in one of FORMATS.

    Raises:
        ValueError: If the format is not known.
    """
    if form not in FORMATS:
        raise ValueError(f"format={form}: must be one of {', '.join(FORMATS)}")
    return FORMATS[form](table)


def markdown(table: Table) -> str:
    """Markdown: aligned pipes, bold for the best, numbered footnotes, the caption below."""
    notes = table.footnotes()
    grid = [[""] + [escape.markdown(heading(column)) for column in table.columns]]
    for row in table.rows:
        line = [escape.markdown(row.label)]
        for column in table.columns:
            cell = row.cells.get(column.key, Cell(text="–"))
            value, spread, beside, marks = map(escape.markdown, parts(cell, column, notes))
            value = f"**{value}**" if cell.best and value else value
            line.append(" ".join(x for x in (value, spread, beside, f"<sup>{marks}</sup>" if marks else "") if x))
        grid.append(line)
    widths = [max(len(line[i]) for line in grid) for i in range(len(grid[0]))]
    out = [
        "| " + " | ".join(_pad(t, w, i) for i, (t, w) in enumerate(zip(line, widths, strict=True))) + " |"
        for line in grid
    ]
    rule = "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    out.insert(1, rule)
    said = legend(table)
    text = escape.markdown(" ".join([*table.caption, said]).strip())
    out += ["", text] if text else []
    for index, note in enumerate(notes):
        out += ["", f"<sup>{letter(index)}</sup> {escape.markdown(note)}"]
    return "\n".join(out) + "\n"


def _pad(text: str, width: int, index: int) -> str:
    """Left for the first column, right for numbers."""
    return text.ljust(width) if index == 0 else text.rjust(width)


def csv_text(table: Table) -> str:
    """CSV: one row per cell of scores, whatever the layout looks like."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in table.rows:
        for column in table.columns:
            cell = row.cells.get(column.key)
            if cell is None or column.kind in ("parameters", "size"):
                continue
            task = cell.task or column.label
            head = map(escape.csv_cell, (table.paper, table.name, cell.backbone, row.label, task, cell.metric))
            figures = [cell.published, cell.published_std, cell.value, cell.spread, cell.n, cell.difference]
            said = escape.csv_cell(cell.verdict or cell.text)
            scores = " ".join(map(_figure, cell.scores))
            writer.writerow([*head, *map(_figure, figures), said, " ".join(cell.run_ids), scores])
    return out.getvalue()


def _figure(value: float | None) -> str:
    """A figure with the digits that it has, nothing for an absent one."""
    return "" if value is None else f"{value:.10g}"


def html_text(table: Table) -> str:
    """An HTML fragment: one `<table>` with provenance in title attributes and raw values for sorting."""
    notes = table.footnotes()
    out = [f'<table class="paper" id="{html.escape(f"{table.paper}-{table.name}".strip("-"))}">', "<thead>"]
    if any(column.group for column in table.columns):
        groups = [(g, len(list(m))) for g, m in groupby(table.columns, key=lambda column: column.group)]
        cells = "".join(f'<th colspan="{width}" scope="colgroup">{html.escape(g)}</th>' for g, width in groups)
        out.append(f"<tr><th></th>{cells}</tr>")
    heads = "".join(f'<th scope="col">{html.escape(heading(column))}</th>' for column in table.columns)
    out += [f'<tr><th scope="col">method</th>{heads}</tr>', "</thead>", "<tbody>"]
    for row in table.rows:
        cells = "".join(_html_cell(row.cells.get(c.key, Cell(text="–")), c, notes) for c in table.columns)
        out.append(f'<tr><th scope="row">{html.escape(row.label)}</th>{cells}</tr>')
    out += ["</tbody>"]
    caption = html.escape(" ".join([*table.caption, legend(table)]).strip())
    for index, note in enumerate(notes):
        caption += f"<br><sup>{letter(index)}</sup> {html.escape(note)}"
    out.insert(1, f"<caption>{caption}</caption>" if caption else "")
    out.append("</table>")
    return "\n".join(line for line in out if line) + "\n"


def _html_cell(cell: Cell, column: Column, notes: list[str]) -> str:
    """One `<td>`."""
    value, spread, beside, marks = (html.escape(part) for part in parts(cell, column, notes))
    said = (cell.provenance, cell.published_note, cell.verdict_why, cell.command)
    title = "; ".join(x for x in said if x)
    inside = value + (f"<sup>{marks}</sup>" if marks else "")
    inside += f' <span class="spread">{spread}</span>' if spread else ""
    inside += f' <span class="published">{beside}</span>' if beside else ""
    attributes = f' data-value="{cell.value:.10g}"' if cell.value is not None else ""
    attributes += ' class="best"' if cell.best else ""
    attributes += f' title="{html.escape(title, quote=True)}"' if title else ""
    return f"<td{attributes}>{inside}</td>"


def html_page(table: Table) -> str:
    """A whole HTML page with one table, for `out=FILE`."""
    title = html.escape(table.title or "table")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{HTML_STYLE}</style></head><body>\n{html_text(table)}</body></html>\n"
    )


FORMATS: dict[str, Callable[[Table], str]] = {
    "markdown": markdown,
    "csv": csv_text,
    "latex": latex,
    "html": html_text,
}
