"""The command line of the report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from results.command_line import command, place
from results.files import write_text
from results.filters import said
from results.ledger import default_root, root_of
from results.plots.runs import read
from results.records import Reading
from results.report import page, payload
from results.report.papers import audit_table, paper_tables, power_tables

USAGE = """usage: python -m results.report [key=value ...] [out=FILE] [ledger.root=DIR] [title=TEXT] [fixtures=true]

Writes one self-contained HTML page of the ledger (default results/report.html).
fixtures     true: runs on fixture rows or random weights stand in tables too (default: marked, and in no table)
filters      any field of the record (task=glue/rte method=pt,dept), any key of the configuration, paper=NAME"""
OPTIONS = ("out", "ledger.root", "title", "fixtures")


def write(
    root: Path,
    out: Path,
    *,
    title: str = "Soft-prompt bench",
    filters: dict[str, list[str]] | None = None,
    fixtures: bool = False,
) -> int:
    """Write the page.

    Returns:
        The number of runs on it.
    """
    runs, problems = read(root, filters or {})
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    title += f" (only {said(filters)})" if filters else ""
    content = payload.build(runs, problems, title=title, made=made, ledger=f"{root.parent.name}/{root.name}")
    content.index["fixtures"] = fixtures
    tables = paper_tables(runs, Reading(root), fixtures=fixtures, only=said(filters or {}))
    write_text(out, page.render(content, tables, audit_table(), power_tables()))
    return len(runs)


@command
def main(arguments: Sequence[str]) -> int:
    """Run the command; 0 written, 2 a mistake in the command."""
    if any(argument in ("-h", "--help", "help") for argument in arguments):
        print(USAGE)
        return 0
    bad = [argument for argument in arguments if "=" not in argument]
    if bad:
        print(f"{', '.join(map(repr, bad))}: arguments are written key=value\n\n{USAGE}", file=sys.stderr)
        return 2
    pairs = dict(argument.split("=", 1) for argument in arguments)
    options = {key: pairs.pop(key) for key in OPTIONS if key in pairs}
    if options.get("fixtures", "false") not in ("true", "false"):
        print(f"fixtures={options['fixtures']}: true or false", file=sys.stderr)
        return 2
    root = root_of(options.get("ledger.root"))
    out = place(options.get("out") or str(default_root().parent / "report.html"))
    filters = {key: value.split(",") for key, value in pairs.items()}
    count = write(
        root,
        out,
        title=options.get("title", "Soft-prompt bench"),
        filters=filters,
        fixtures=options.get("fixtures") == "true",
    )
    print(f"{out} ({count} runs, {out.stat().st_size / 1e6:.1f} MB)")
    if not count:
        print("No run is on it yet: loosen the filters, give ledger.root=DIR, or train some (make demo).")
    return 0
