"""The command line of the figures: which kind, which runs, where to."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from results.archive import with_archive
from results.command_line import command, place
from results.filters import said
from results.ledger import default_root, root_of
from results.plots import style
from results.plots.runs import BASELINES, Panel, Seen, panels, read
from results.records import read_runs
from results.tables.build import fill
from results.tables.checked import LayoutError
from results.tables.layout import check_filters, load
from results.tables.state import Options

USAGE = """usage: python -m results.plots KIND [key=value ...] [out=DIR] [ledger.root=DIR] [points=best|all]

kinds        curves       validation metric and training loss against step
             sensitivity  score against learning rate and prompt length, every seed a dot
             pareto       score against trainable parameters, training speed and memory
             gates        APT's gates per layer and token
             gates_over_training  the same at every evaluation
             tuning       expected best validation score against the number of trials
             sizes        score against the model's parameters: the rows of a table that lie on several backbones
                          (paper=pt table=sizes; without paper= methods by backbone, the mean of all tasks)
filters      any field of the record (task=glue/rte method=pt,dept seed=1,2), any key of the configuration
             (runner.max_steps=40), run_id=PREFIX, paper=NAME (its experiments), paper=NAME table=NAME (the runs in
             a table's cells)
out          folder of the PNG and PDF files (default results/plots_out)"""
SHOWN = ("task", "backbone", "protocol", "method", "paper", "table", "experiment")  # what a figure says by itself
OPTIONS = ("out", "ledger.root", "points", "fixtures")
OF_TABLES = ("sizes",)  # drawn of a table's cells


class Refused(ValueError):
    """The command line asks for something that is not there."""


def parse(arguments: Sequence[str]) -> tuple[str, dict[str, str], dict[str, list[str]]]:
    """Split a command line into kind, options and filters.

    Raises:
        Refused: an unknown kind, or an argument that is not key=value.
    """
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        raise Refused(USAGE)
    kind, *rest = arguments
    if kind not in (*KINDS, *OF_TABLES):
        near = difflib.get_close_matches(kind, (*KINDS, *OF_TABLES), 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise Refused(f"unknown kind of figure {kind!r}; there are {', '.join((*KINDS, *OF_TABLES))}.{hint}")
    bad = [argument for argument in rest if "=" not in argument]
    if bad:
        raise Refused(f"{', '.join(map(repr, bad))}: filters are written key=value, e.g. task=glue/rte")
    pairs = dict(argument.split("=", 1) for argument in rest)
    options = {key: pairs.pop(key) for key in OPTIONS if key in pairs}
    if options.get("points", "best") not in ("best", "all"):
        raise Refused(f"points={options['points']!r}: allowed are best and all")
    return kind, options, {key: value.split(",") for key, value in pairs.items()}


def figures(
    kind: str,
    runs: Sequence[Seen],
    out: Path,
    *,
    every_point: bool = False,
    fixtures: bool = False,
    only: str = "",
) -> list[Path]:
    """Draw a kind of figure for every panel that has something to show; `only`: what the runs were narrowed to.

    Returns:
        The paths written: ``<kind>.png`` and ``.pdf`` where there is one panel, else ``<kind>-<panel>.*``.
    """
    real = [panel for panel in panels(runs) if fixtures or not panel.runs[0].is_fixture]
    # a ledger that holds fixture runs alone is somebody trying the tools: show it, marked
    chosen = [panel for panel in (real or panels(runs)) if _worth_drawing(kind, panel)]
    paths: list[Path] = []
    for panel in chosen:
        name = kind if len(chosen) == 1 else f"{kind}-{panel.slug}"
        panel.only = only
        with style.look():
            paths += KINDS[kind](panel, out, name, every_point)
    return paths


def _worth_drawing(kind: str, panel: Panel) -> bool:
    if kind == "gates":
        return any(run.gates() for run in panel.trained)
    if kind == "gates_over_training":
        return any(run.gates_over_training() for run in panel.trained)
    if kind == "curves":
        return any(run.history for run in panel.trained)
    if kind == "tuning":
        return any(run.selection_score() is not None for run in panel.trained)
    return any(run.score() is not None for run in panel.trained)


@command
def main(arguments: Sequence[str]) -> int:
    """Run the command; 0 written, 2 refused (nothing to draw, or a mistake in the command)."""
    try:
        kind, options, filters = parse(arguments)
        root = root_of(options.get("ledger.root"))
        out = place(options.get("out") or str(default_root().parent / "plots_out"))
        fixtures = options.get("fixtures", "false") == "true"
        if kind in OF_TABLES:
            return _of_a_table(kind, root, filters, out, fixtures)
        runs, broken = read(root, filters)
        for sentence in broken:
            print(sentence, file=sys.stderr)
        paths = figures(
            kind,
            runs,
            out,
            every_point=options.get("points") == "all",
            fixtures=fixtures,
            only=said({key: values for key, values in filters.items() if key not in SHOWN}),
        )
        if not paths:
            raise Refused(_nothing(kind, runs, root, filters))
    except LayoutError as error:
        print(error, file=sys.stderr)
        return 2
    except Refused as refusal:
        print(refusal, file=sys.stdout if str(refusal) == USAGE else sys.stderr)
        return 0 if str(refusal) == USAGE and arguments else 2
    for path in paths:
        print(path)
    return 0


def _of_a_table(kind: str, root: Path, filters: dict[str, list[str]], out: Path, fixtures: bool) -> int:
    """A figure of a table's cells: of `paper=` and `table=`, else of methods by backbone over the runs that pass."""
    from results.plots import sizes

    rest: dict[str, Any] = dict(filters)
    papers, tables = rest.pop("paper", []), rest.pop("table", [])
    if len(papers) > 1 or len(tables) > 1 or (tables and not papers):
        raise Refused(f"{kind} is drawn of one table: paper=NAME table=NAME")
    reading = read_runs(root)
    check_filters(rest, reading.runs)
    for sentence in reading.problems:
        print(sentence, file=sys.stderr)
    if papers:
        reading = with_archive(reading, papers[0])
        layout = load(papers[0], tables[0] if tables else None).narrowed(rest)
    else:
        usable = [run for run in reading.runs if fixtures or not run.is_fixture]
        layout = sizes.methods_by_backbone(usable, rest)
    state, table = fill(layout, reading, Options(fixtures=fixtures, significance=False))
    name = f"{kind}-{layout.paper}-{layout.name}" if papers else kind
    paths = sizes.draw(state, table, out, name)
    if not paths:
        more = " (fixtures=true takes runs on synthetic rows)" if state.kept_out else ""
        raise Refused(
            f"nothing to draw for {kind}: no row of {layout.title or 'the table'} that names its backbone has a whole "
            f"score in {root}{more}. python -m results.tables with the same words shows the cells; --commands what "
            "fills them"
        )
    for path in paths:
        print(path)
    return 0


def _nothing(kind: str, runs: Sequence[Seen], root: Path, filters: dict[str, list[str]]) -> str:
    finished = sum(run.done and run.method not in BASELINES for run in runs)
    asked = " ".join(f"{key}={','.join(values)}" for key, values in filters.items()) or "no filter"
    extra = " (gates are written for method=apt)" if kind.startswith("gates") else ""
    return (
        f"nothing to draw for {kind}{extra}: {len(runs)} runs in {root} pass {asked}, {finished} of them finished and "
        "trained. Loosen the filters, give ledger.root=DIR, or train some: make demo"
    )


def _curves(panel: Panel, out: Path, name: str, every_point: bool) -> list[Path]:
    from results.plots import curves

    return curves.draw(panel, out, name, every_point=every_point)


def _sensitivity(panel: Panel, out: Path, name: str, every_point: bool) -> list[Path]:
    from results.plots import sensitivity

    return sensitivity.draw(panel, out, name)


def _pareto(panel: Panel, out: Path, name: str, every_point: bool) -> list[Path]:
    from results.plots import pareto

    return pareto.draw(panel, out, name, every_point=every_point)


def _gates(panel: Panel, out: Path, name: str, every_point: bool) -> list[Path]:
    from results.plots import gates

    return gates.draw(panel, out, name)


def _gates_over_training(panel: Panel, out: Path, name: str, every_point: bool) -> list[Path]:
    from results.plots import gates_over_training

    return gates_over_training.draw(panel, out, name)


def _tuned(panel: Panel, out: Path, name: str, every_point: bool) -> list[Path]:
    from results.plots import tuning

    return tuning.draw(panel, out, name)


KINDS: dict[str, Callable[[Panel, Path, str, bool], list[Path]]] = {
    "curves": _curves,
    "sensitivity": _sensitivity,
    "pareto": _pareto,
    "gates": _gates,
    "gates_over_training": _gates_over_training,
    "tuning": _tuned,
}
