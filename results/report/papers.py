"""The report's ready-made tables: the papers' (as `python -m results.tables` prints them, where the ledger has runs),
the audit of quoted claims, and what test sets can show."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import replace

from results.audit.summary import summary_table
from results.plots.runs import Seen
from results.power import tests
from results.records import Reading
from results.tables.build import build
from results.tables.contests import pairs_text
from results.tables.layout import load, papers, tables_of
from results.tables.render import html_text
from results.tables.state import Options

PROTOCOLS = ("dept", "official", "lester")


def paper_tables(runs: Sequence[Seen], reading: Reading, *, fixtures: bool = False, only: str = "") -> str:
    """The HTML of every paper table of which at least one trained cell has runs, each with all its pairs.

    Args:
        runs: the runs that the page shows.
        reading: the ledger they are from (its root and problems).
        fixtures: whether runs without scientific value stand in them, marked.
        only: what the runs of the page were narrowed to.
    """
    shown = Reading(reading.root, list(runs), [])
    found = []
    for paper in papers():
        for name in tables_of(paper):
            layout = replace(load(paper, name), only=f"Only runs with {only}." if only else "")
            options = Options(fixtures=fixtures)
            table = build(layout, shown, options)
            if any(cell.run_ids for row in table.rows for cell in row.cells.values()):
                found.append(f"<h3>{html.escape(f'{paper}, table {name}')}</h3>")  # the caption stands below
                found.append(_marked(f'<div class="scroll card">{html_text(table)}</div>', fixtures, runs))
                pairs = html.escape(pairs_text(layout, shown, options))
                found.append(
                    f'<details class="pairs-of"><summary>Every pair</summary><pre class="card">{pairs}</pre></details>'
                )
    return "\n".join(found)


def _marked(table: str, fixtures: bool, runs: Sequence[Seen]) -> str:
    """A table in which runs without scientific value may stand says so."""
    if not (fixtures and any(run.is_fixture for run in runs)):
        return table
    return '<p class="banner fixture">fixtures=true: runs on fixture rows or random weights may stand here.</p>' + table


def audit_table() -> str:
    """The audit of quoted claims."""
    return f'<div class="scroll card">{summary_table()}</div>'


def power_tables() -> str:
    """What two single runs can show on the test sets of each protocol."""
    return "\n".join(f'<div class="scroll card">{_power(protocol)}</div>' for protocol in PROTOCOLS)


def _power(protocol: str) -> str:
    head, _, *rows = (line.strip("|").split("|") for line in tests(protocol).splitlines())
    heads = "".join(f'<th scope="col">{html.escape(text.strip())}</th>' for text in head)
    body = "\n".join(
        f'<tr><th scope="row">{html.escape(first.strip())}</th>'
        + "".join(
            f'<td data-value="{cell.strip().replace(",", "")}">{html.escape(cell.strip())}</td>' for cell in cells
        )
        + "</tr>"
        for first, *cells in rows
    )
    caption = (
        f"protocol={protocol} (python -m results.power tests protocol={protocol}): the smallest difference that "
        "McNemar's exact test finds at 5% (all examples in one direction), and unpaired at 80% accuracy."
    )
    return (
        f'<table class="paper" id="power-{protocol}"><caption>{html.escape(caption)}</caption>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table>\n"
    )
