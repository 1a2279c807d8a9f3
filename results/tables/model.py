"""The table between the ledger and its renderings: rows, columns, cells, footnotes.

Scores in cells are points (85.0), because tables show points; everything before this module is in fractions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

VERDICT_SIGNS = {"reproduced": "=", "differs": "≠", "inconclusive": "?", "undecidable": "n/d", "not comparable": "n/c"}


@dataclass
class Cell:
    """One cell.

    Attributes:
        value: Mean over runs, in points (or in the column's own unit).
        spread: Its spread, in the same unit; `spread_kind` is "sd" (over seeds) or "se" (standard error).
        n: Number of runs (seeds) behind the value.
        text: What is shown instead of a number ("missing", "failed", ...).
        published: The published value; `published_note` says where it is from, or that it is not on file.
        difference: value - published.
        verdict: One of VERDICT_SIGNS, "" if nothing is compared; `verdict_why` says why.
        best: Whether it is the best of its column or not significantly worse than the best.
        scores: What each run had, in the order of the seeds, for a cell of scores.
        footnotes: Sentences about this cell; the table numbers them.
    """

    value: float | None = None
    spread: float | None = None
    spread_kind: str = ""
    n: int = 0
    text: str = ""
    published: float | None = None
    published_std: float | None = None
    published_note: str = ""
    difference: float | None = None
    verdict: str = ""
    verdict_why: str = ""
    best: bool = False
    footnotes: list[str] = field(default_factory=list)
    unfinished: list[tuple[str, str]] = field(default_factory=list)  # (status, run id) of runs behind it
    scores: list[float] = field(default_factory=list)
    every_seed: bool = False  # whether they are shown in place of the spread
    run_ids: list[str] = field(default_factory=list)
    provenance: str = ""
    backbone: str = ""
    task: str = ""
    metric: str = ""
    command: str = ""
    test_size: int | None = None
    units: int | None = None  # what its metric counts: examples, or whole questions where it judges these (MultiRC)


@dataclass
class Column:
    """A column; `kind` is "score", "average", "parameters", "size", "rate", "bytes" or "seconds"."""

    key: str
    label: str
    kind: str = "score"
    group: str = ""
    note: str = ""

    @property
    def digits(self) -> int:
        """Decimals shown."""
        return 0 if self.kind in ("parameters", "size") else 1


@dataclass
class Row:
    """A row: the method's label and its cells by column key."""

    label: str
    method: str
    cells: dict[str, Cell] = field(default_factory=dict)
    group: str = ""


@dataclass
class Table:
    """A whole table with its caption, one sentence per entry, and the footnotes in order of appearance."""

    paper: str
    name: str
    title: str
    columns: list[Column]
    rows: list[Row]
    caption: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def footnotes(self) -> list[str]:
        """Footnote sentences, each once, in reading order."""
        notes: dict[str, None] = {}
        for row in self.rows:
            for column in self.columns:
                cell = row.cells.get(column.key)
                for note in cell.footnotes if cell else ():
                    notes.setdefault(note)
        return list(notes)

    def commands(self) -> list[str]:
        """The commands that fill the missing cells, each once."""
        commands: dict[str, None] = {}
        for row in self.rows:
            for column in self.columns:
                cell = row.cells.get(column.key)
                if cell and cell.command:
                    commands.setdefault(cell.command)
        return list(commands)
