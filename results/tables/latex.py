"""LaTeX with booktabs: a table to \\input into a paper, or with standalone a whole small document."""

from __future__ import annotations

from itertools import groupby

from results.tables import escape
from results.tables.model import Cell, Column, Table
from results.tables.pieces import NOT_ON_FILE, heading, legend, letter, parts


def latex(table: Table, standalone: bool = False) -> str:
    """LaTeX with booktabs: a table environment that a paper takes with \\input (its preamble needs booktabs and
    graphicx), provenance in comments after it; with `standalone` a whole small document that compiles as it is.
    """
    notes = table.footnotes()
    body = [
        "% --- table (needs booktabs, graphicx) ---",
        r"\begin{table}[t]\centering\small",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        r"\begin{tabular}{l" + "r" * len(table.columns) + "}",
        r"\toprule",
        *_latex_groups(table),
        " & ".join(["", *(escape.latex(heading(column)) for column in table.columns)]) + r" \\",
        r"\midrule",
    ]
    for row in table.rows:
        line = [escape.latex(row.label)]
        for column in table.columns:
            cell = row.cells.get(column.key, Cell(text="–"))
            line.append(_latex_cell(cell, column, notes))
        body.append(" & ".join(line) + r" \\")
        if any(cell.published is not None for cell in row.cells.values()):
            body.append(r"\addlinespace[3pt]")
    caption = escape.latex(" ".join([*table.caption, legend(table)]).strip())
    if any(NOT_ON_FILE in cell.published_note for row in table.rows for cell in row.cells.values()):
        caption += " n/f: published, but not on file."
    for index, note in enumerate(notes):
        caption += rf" \textsuperscript{{{letter(index)}}} {escape.latex(note)}"
    body += [r"\bottomrule", r"\end{tabular}}", rf"\caption{{{caption}}}", r"\end{table}", "% --- end of table ---"]
    for row in table.rows:
        for column in table.columns:
            made = row.cells.get(column.key)
            if made and made.provenance:
                body.append("% " + escape.latex_comment(f"{row.label} / {column.label}: {made.provenance}"))
    text = "\n".join(body) + "\n"
    if not standalone:
        return text
    # a wide table gets a wide page, so that it can be read as it is
    page = "a3paper,landscape" if len(table.columns) > 10 else "a4paper"
    head = (
        "\\documentclass{article}\n\\usepackage[utf8]{inputenc}\n\\usepackage{booktabs,graphicx}\n"
        f"\\usepackage[{page},margin=1.5cm]{{geometry}}\n"
    )
    return head + "\\begin{document}\n" + text + "\\end{document}\n"


def _latex_cell(cell: Cell, column: Column, notes: list[str]) -> str:
    """A cell: the value, under it in small print spread and number of runs, then the published value."""
    value, spread, beside, marks = (escape.latex(part) for part in parts(cell, column, notes))
    value = rf"\textbf{{{value}}}" if cell.best and value else value
    value += rf"\textsuperscript{{{marks}}}" if marks else ""
    if NOT_ON_FILE in beside:
        beside = "n/f"
    if not beside:
        return value + (rf" {{\scriptsize {spread}}}" if spread else "")
    under = [rf"{{\tiny {{}}{text}}}" for text in (spread, beside) if text]
    lines = r"\\".join([value, *under])
    return rf"\shortstack[r]{{{lines}}}"


def _latex_groups(table: Table) -> list[str]:
    """A heading row over groups of columns, with rules under each."""
    if not any(column.group for column in table.columns):
        return []
    cells, rules, at = [""], [], 2
    for group, members in groupby(table.columns, key=lambda column: column.group):
        width = len(list(members))
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escape.latex(group)}}}")
        if group:
            rules.append(rf"\cmidrule(lr){{{at}-{at + width - 1}}}")
        at += width
    return [" & ".join(cells) + r" \\", "".join(rules)]
