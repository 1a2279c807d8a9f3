"""What is committed of a benchmark: its runs, the tables read from them, every pair of methods, and the figures.

    python -m results.publish paper=offline_v1 [ledger.root=DIR]
    python -m results.publish paper=offline_v1 texts=only      # tables and pairs anew, from the committed runs

writes `results/<paper>/`: runs.tar.xz (results.archive: the ledger's runs beside those that are in it already),
<table>.md, <table>.csv, <table>-pairs.md and figures, and fills the tables and verdicts of docs/<paper>.md
(results.pages). All but the first are made from the first, so that whoever has the repository makes the same.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from results import pages
from results.archive import archive_of, archived, in_cells, pack, with_archive
from results.command_line import command
from results.files import write_text
from results.ledger import root_of
from results.records import Reading, read_runs
from results.tables.build import build
from results.tables.checked import LayoutError
from results.tables.contests import pairs_text
from results.tables.layout import load, tables_of
from results.tables.render import render


def texts(paper: str, reading: Reading) -> dict[str, str]:
    """The content of every text file, by its name."""
    made: dict[str, str] = {}
    for name in tables_of(paper):
        layout = load(paper, name)
        table = build(layout, reading)
        made |= {f"{name}.md": render(table, "markdown"), f"{name}.csv": render(table, "csv")}
        made[f"{name}-pairs.md"] = pairs_text(layout, reading)
    return made


def draw(paper: str, out: Path) -> list[Path]:
    """Curves, sensitivity and Pareto figures of every table that has such runs, as PNG files.

    A table without a speed column has none of the last, since what its runs took was taken beside other work, and no
    curves: it has twenty methods, and they are in the ledger's report.
    """
    from results.plots.command import figures
    from results.plots.runs import read

    kept = []
    for table in tables_of(paper):
        runs, _ = read(out / "nothing", {"paper": [paper], "table": [table]})
        layout = load(paper, table)
        timed = any(column.kind == "rate" for column in layout.columns)  # else its runs' speeds are not comparable
        plain = ("curves", "pareto") if timed else ()
        kinds = ("sensitivity",) if any(row.cells for row in layout.rows) else plain
        for kind in kinds:
            for path in figures(kind, runs, out):
                if path.suffix == ".png":
                    kept.append(out / f"{table}-{path.stem}.png")  # the stem names the panel where there are several
                    _smaller(path, kept[-1])
                path.unlink()
    return kept


def _smaller(path: Path, place: Path) -> None:
    """A figure with a palette instead of full colour: a quarter of the bytes, nothing that one would see."""
    from PIL import Image

    with Image.open(path) as image:
        image.convert("RGB").quantize(96).save(place, optimize=True)


@command
def main(arguments: Sequence[str]) -> int:
    """Write everything; 2 where the arguments are wrong or there is nothing to publish."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    given = dict(word.split("=", 1) for word in arguments if "=" in word)
    if set(given) - {"paper", "ledger.root", "texts"} or "paper" not in given or len(given) < len(arguments):
        print(__doc__, file=sys.stderr)
        return 2
    paper = given["paper"]
    try:
        if "texts" in given:
            _write_texts(paper)
            return 0
        # what was published stays, runs of the ledger come beside it
        reading = with_archive(read_runs(root_of(given.get("ledger.root"))), paper)
        for problem in reading.problems:
            print(f"left out: {problem}", file=sys.stderr)
        runs = in_cells(reading.runs, paper)
        if not runs:
            print(f"the ledger has no run of paper={paper}", file=sys.stderr)
            return 2
        path = archive_of(paper)
        size = pack(runs, path)
    except (LayoutError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{path}: {len(runs)} runs, {size:,} bytes")
    _write_texts(paper)
    for figure in draw(paper, path.parent):
        print(figure)
    return 0


def _write_texts(paper: str) -> None:
    folder, reading = archive_of(paper).parent, archived(paper)
    for name, text in texts(paper, reading).items():
        write_text(folder / name, text)
        print(folder / name)
    page = pages.page_of(paper)
    if page.exists():
        filled = pages.filled(page.read_text(encoding="utf-8"), pages.parts_of(paper, reading))
        write_text(page, filled)
        print(page)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
