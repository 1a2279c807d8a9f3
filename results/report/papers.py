"""Paper tables on the overview (what `python -m results.tables` prints, where the ledger has runs) and the audit."""

from __future__ import annotations

from collections.abc import Sequence

from results.audit.summary import summary_table
from results.plots.runs import Seen
from results.records import Reading
from results.tables.build import build
from results.tables.layout import load, papers, tables_of
from results.tables.render import html_text


def paper_tables(runs: Sequence[Seen], reading: Reading) -> str:
    """The HTML of every paper table of which at least one trained cell has runs, and of the audit of quoted claims;
    empty where the page has no run.

    Args:
        runs: the runs that the page shows.
        reading: the ledger they are from (its root and problems).
    """
    shown = Reading(reading.root, list(runs), [])
    found = []
    for paper in papers():
        for name in tables_of(paper):
            table = build(load(paper, name), shown)
            if any(cell.run_ids for row in table.rows for cell in row.cells.values()):
                found.append(f'<div class="scroll card">{html_text(table)}</div>')
    if runs:
        found.append(f'<div class="scroll card">{summary_table()}</div>')
    return "\n".join(found)
