"""What all renderings of a table share: numbers, the pieces of a cell, headings, the legend."""

from __future__ import annotations

from results.tables.model import VERDICT_SIGNS, Cell, Column, Table

NOT_ON_FILE = "not on file"
LEGEND = "= reproduced, ≠ differs, ? inconclusive, n/d undecidable at this size, n/c not comparable"


def points(margin: float) -> str:
    """1 point, 0.5 points."""
    return f"{margin:g} point" + ("" if margin == 1 else "s")


def number(value: float, column: Column) -> str:
    """A number as its column shows it."""
    return f"{value:,.{column.digits}f}"


def parts(cell: Cell, column: Column, notes: list[str]) -> tuple[str, str, str, str]:
    """The pieces of a cell: value, spread with n, published with difference and verdict, footnote marks."""
    value = number(cell.value, column) if cell.value is not None else cell.text
    spread = ""
    if cell.value is not None and cell.spread is not None:
        spread = f"± {cell.spread:.{max(column.digits, 1)}f}"
    if cell.every_seed and len(cell.scores) > 1:
        spread = f"({', '.join(number(score, column) for score in cell.scores)})"
    elif cell.n and column.kind not in ("parameters", "size", "average"):
        spread = f"{spread} ({cell.n})".strip()
    beside = ""
    if cell.published is not None:
        inner = number(cell.published, column)
        if cell.published_std is not None:
            inner += f" ± {cell.published_std:.1f}"
        if cell.difference is not None:
            inner += f", {cell.difference:+.1f}"
        if cell.verdict:
            inner += f" {VERDICT_SIGNS[cell.verdict]}"
        beside = f"[{inner}]"
    elif cell.published_note:
        beside = f"[{cell.published_note}]"
    marks = ",".join(letter(notes.index(note)) for note in cell.footnotes)
    return value, spread, beside, marks


def letter(index: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters


def legend(table: Table) -> str:
    """The meaning of brackets and signs, where there are any."""
    cells = [cell for row in table.rows for cell in row.cells.values()]
    if any(cell.verdict for cell in cells):
        return f"In square brackets the published value, the difference and a verdict: {LEGEND}."
    if any(cell.published is not None for cell in cells):
        return "In square brackets the published value."
    return ""


def heading(column: Column) -> str:
    """A column's heading in one line."""
    return f"{column.label} ({column.note})" if column.note else column.label
