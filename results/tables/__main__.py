"""`python -m results.tables`: paper-style tables from the ledger, without importing torch.

    python -m results.tables paper=demo
    python -m results.tables paper=dept table=1 format=latex out=table1.tex
    python -m results.tables rows=method cols=task backbone=t5_base protocol=dept
    python -m results.tables rows=method.lr.prompt cols=method task=demo/movie_reviews
    python -m results.tables rows=method,backbone cols=task --pairs
    python -m results.tables paper=dept table=1 format=appendix
    python -m results.tables paper=dept table=1 --commands
    python -m results.tables paper=offline_v1 table=reviews --pairs

--commands lists what fills the missing cells; --pairs every row less every other, with intervals.

Arguments are key=value as for run.py: paper, table (a name, or all), rows and cols (several keys with commas are
crossed), format (markdown|csv|latex|html, or appendix: the reproducibility page of a paper), out=FILE,
ledger.root=DIR, selection (validation|reported), margin (points, for `reproduced`), cells (mean, or all: every seed's
score in place of the spread), and true|false for fixtures (let in runs on synthetic rows), significance (compare
methods from their predictions), median (the median over each row's grid beside its best) and standalone (LaTeX: a
whole document instead of a table for \\input). Any other key filters the runs: a facet (method, task, backbone,
protocol, seed, fidelity, status, data.source) or a config key (method.prompt_length=60); several values are separated
by commas.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from results.archive import with_archive
from results.command_line import command, deliver
from results.filters import settled
from results.ledger import root_of
from results.records import Reading, read_runs
from results.tables.appendix import appendix
from results.tables.build import fill
from results.tables.checked import LayoutError
from results.tables.contests import pairs_text
from results.tables.latex import latex
from results.tables.layout import Layout, check_filters, free, load, tables_of
from results.tables.model import Table
from results.tables.render import FORMATS, html_page, render
from results.tables.rows import with_medians
from results.tables.state import Options

DEFAULTS: dict[str, str] = {
    "paper": "",
    "table": "",
    "rows": "",
    "cols": "",
    "format": "markdown",
    "out": "",
    "ledger.root": "",
    "selection": "validation",
    "margin": "1.0",
    "fixtures": "false",
    "median": "false",
    "significance": "true",
    "cells": "mean",
    "standalone": "false",
}
APPENDIX = "appendix"
FLAGS = ("--commands", "--pairs", "--help", "-h")


@command
def main(arguments: list[str] | None = None) -> int:
    """Print or write the table; 0 when it was made, 2 when the arguments are wrong."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if "--help" in arguments or "-h" in arguments:
        print(__doc__)
        return 0
    try:
        settings, filters, flags = parse(arguments)
        options = _options(settings)
        layouts, reading = _layouts(settings, filters)
    except LayoutError as error:
        print(error, file=sys.stderr)
        return 2
    if "--pairs" in flags:
        return deliver("\n".join(pairs_text(layout, reading, options) for layout in layouts), settings["out"])
    filled = [fill(layout, reading, options) for layout in layouts]
    tables = [table for _, table in filled]
    for problem in reading.problems:
        print(f"ledger: {problem}", file=sys.stderr)
    if "--commands" in flags:
        for line in dict.fromkeys(line for table in tables for line in table.commands()):
            print(line)
        return 0
    if settings["format"] == APPENDIX:
        return deliver("\n".join(appendix(state, table) for state, table in filled), settings["out"])
    text = "\n".join(_text(table, settings) for table in tables)
    return deliver(text, settings["out"])


def parse(arguments: list[str]) -> tuple[dict[str, str], dict[str, Any], list[str]]:
    """Split arguments into settings, filters and flags.

    Raises:
        LayoutError: For a word without `=`, an unknown flag, or a value that is not allowed.
    """
    settings, filters, flags = dict(DEFAULTS), {}, []
    for word in arguments:
        if word in FLAGS:
            flags.append(word)
        elif word.startswith("-") or "=" not in word:
            raise LayoutError(
                f"{word}: arguments are key=value (paper=demo, task=demo/movie_reviews), or {', '.join(FLAGS)}"
            )
        else:
            key, _, value = word.lstrip("+").partition("=")
            if key in settings:
                settings[key] = value
            else:
                values = [part.strip() for part in value.strip("[]").split(",")]
                filters[key] = values[0] if len(values) == 1 else values
    if settings["format"] not in (*FORMATS, APPENDIX):
        raise LayoutError(f"format={settings['format']}: must be one of {', '.join((*FORMATS, APPENDIX))}")
    return settings, filters, flags


def _options(settings: dict[str, str]) -> Options:
    """The typed options of the settings."""
    if settings["selection"] not in ("validation", "reported"):
        raise LayoutError(f"selection={settings['selection']}: must be one of validation, reported")
    margin = margin_of(settings["margin"])
    if settings["cells"] not in ("mean", "all"):
        raise LayoutError(f"cells={settings['cells']}: must be one of mean, all")
    fixtures, significance = _flag(settings, "fixtures"), _flag(settings, "significance")
    return Options(settings["selection"], margin, fixtures, significance, settings["cells"])


def margin_of(text: str) -> float:
    """A margin of equivalence, in points.

    Raises:
        LayoutError: it is no number above 0, or none at all (an endless one would call everything reproduced).
    """
    try:
        margin = float(text)
    except ValueError:
        raise LayoutError(f"margin={text}: must be a number of points, such as 1.0") from None
    if not 0 < margin <= 100:
        raise LayoutError(f"margin={text}: must be above 0 points, and at most 100")
    return margin


def _flag(settings: dict[str, str], name: str) -> bool:
    """A setting that is true or false."""
    if settings[name] not in ("true", "false"):
        raise LayoutError(f"{name}={settings[name]}: must be true or false")
    return settings[name] == "true"


def _layouts(settings: dict[str, str], filters: dict[str, Any]) -> tuple[list[Layout], Reading]:
    """The layouts asked for, and the ledger."""
    reading = read_runs(root_of(settings["ledger.root"]))
    paper, table = settings["paper"], settings["table"]
    if paper and (settings["rows"] or settings["cols"]):
        raise LayoutError("paper= and rows=/cols= exclude each other: a paper's table has its own layout")
    if paper:
        reading = with_archive(reading, paper)
    check_filters(filters, reading.runs)
    filters, lacking = settled(filters, reading.runs)
    if paper:
        names: list[str | None] = list(tables_of(paper)) if table == "all" else [table or None]
        layouts = [_noted(load(paper, name).narrowed(filters), lacking) for name in names]
        return [with_medians(layout) if _flag(settings, "median") else layout for layout in layouts], reading
    if table:
        raise LayoutError(f"table={table}: say of which paper (paper=...)")
    usable = [run for run in reading.runs if settings["fixtures"] == "true" or not run.is_fixture]
    layout = _noted(free(usable, settings["rows"] or "method", settings["cols"] or "task", filters), lacking)
    return [with_medians(layout) if _flag(settings, "median") else layout], reading


def _noted(layout: Layout, lacking: list[str]) -> Layout:
    """A layout that says which values of its filters no run has."""
    return replace(layout, only=" ".join([layout.only, *lacking]).strip())


def _text(table: Table, settings: dict[str, str]) -> str:
    """A table in the format asked for."""
    if settings["format"] == "latex":
        return latex(table, _flag(settings, "standalone"))
    if settings["format"] == "html" and settings["out"]:
        return html_page(table)
    return render(table, settings["format"])


if __name__ == "__main__":
    raise SystemExit(main())
