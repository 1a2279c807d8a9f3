"""Text as each rendering may hold it: whatever a label, a note or a name is made of, it is shown and never acted on."""

from __future__ import annotations

import re

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes a cell that begins so for a formula
TAG = re.compile(r"<(?=[a-zA-Z/!?])")
LATEX = {c: "\\" + c for c in "&%$#_{}"} | {
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after a line's end it would be its optional argument
    "]": "{]}",
    "±": r"$\pm$",
    "≠": r"$\neq$",
    "→": r"$\rightarrow$",
    "–": "--",
    "—": "---",
    "−": "$-$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "α": r"$\alpha$",
    "·": r"$\cdot$",
    "…": r"\ldots{}",
    "“": "``",
    "”": "''",
    "‘": "`",
    "’": "'",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def one_line(text: str) -> str:
    """Line ends and control characters as single spaces."""
    return "".join(
        c if c.isprintable() else " " for c in re.sub(r"\s*[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+\s*", " ", text)
    )


def latex(text: str) -> str:
    """Text that LaTeX sets as it reads; a character that pdflatex has no letter for stands as its code."""
    return "".join(LATEX.get(c, c if ord(c) < 0x180 else f"{{[}}U+{ord(c):04X}{{]}}") for c in one_line(text))


def latex_comment(text: str) -> str:
    """Text behind a `%`: of one line, so that no part of it is set."""
    return one_line(text)


def markdown(text: str) -> str:
    """Text of a cell or a caption: no cell border, no line end, no emphasis, no tag."""
    plain = one_line(text).replace("\\", "\\\\")
    return TAG.sub("&lt;", re.sub(r"([|*`])", r"\\\1", plain))


def csv_cell(text: str) -> str:
    """Text of a cell that no spreadsheet takes for a formula."""
    plain = one_line(text)
    return "'" + plain if plain.lstrip().startswith(FORMULA) else plain
