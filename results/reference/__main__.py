"""`python -m results.reference`: what is on file, and how a transcription of your own is added.

    python -m results.reference                 list the papers on file
    python -m results.reference check           check every entry and recompute every printed average
    python -m results.reference add FILE.csv    check a transcription and add it

FILE.csv has the columns paper, table, backbone, method, task, metric, value, source and, where known, std,
params, split, seeds, selection, lineage, remark, correction, unit. Scores are in points, as printed (`correction`
is what a misprinted one should be); a value that is no score has its unit in the name of its metric ("training
seconds", "peak memory bytes") or in `unit`; times may be written 1:14:16; unit=points says that a score below one
point is no fraction. What is left empty is kept as `unknown`. Nothing is added unless every row is right.
"""

from __future__ import annotations

import math
import re
import sys
from dataclasses import replace
from pathlib import Path

from results.command_line import command, place
from results.reference import (
    ANCHORS,
    FOLDER,
    UNKNOWN,
    Entry,
    Reference,
    files,
    load,
    papers,
    problems,
    read,
    unit_of,
    write,
)
from tasks.errors import DataError
from tasks.reading import some_rows

NEEDED = ("paper", "table", "backbone", "method", "task", "metric", "value", "source")
OPTIONAL = ("std", "params", "split", "seeds", "selection", "lineage", "remark", "correction", "unit")
CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d\d(?:\.\d+)?)")  # h:mm:ss or mm:ss


@command
def main(arguments: list[str] | None = None, folder: Path = FOLDER) -> int:
    """0 when all is well, 1 when check finds errors, 2 when the arguments or the file are wrong."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments:
        return listing()
    if arguments == ["check"]:
        return check(folder)
    if arguments[0] == "add" and len(arguments) == 2:
        return add(place(arguments[1]), folder)
    print(__doc__, file=sys.stderr if arguments[0] not in ("-h", "--help") else sys.stdout)
    return 0 if arguments[0] in ("-h", "--help") else 2


def listing() -> int:
    """Print the papers on file with the number of their cells."""
    counts = {}
    for paper in papers():
        reference = load(paper)
        if reference:
            counts[paper] = len(reference.entries)
            print(f"{paper}: {len(reference.entries)} values ({reference.paper})")
    print(f"{sum(counts.values()):,} cells")
    for path in sorted(ANCHORS.glob("*.yaml")):
        print(f"and as an anchor of the harness itself, {path.stem}: {len(read(path).entries)} values")
    return 0


def check(folder: Path = FOLDER) -> int:
    """Print what is wrong with the entries, and the printed averages that their cells do not give."""
    wrong = 0
    for path in files(folder):
        reference = read(path)
        for index, entry in enumerate(reference.entries):
            others = (other for number, other in enumerate(reference.entries) if number != index)
            for said in problems(entry, others):
                wrong += 1
                print(f"{path.name}: {said}")
        for misfit in reference.misfits():
            size = "" if misfit.beyond_rounding else " (rounding of the cells could explain it)"
            size += f", with the corrections beside them {misfit.corrected}" if misfit.corrected is not None else ""
            print(
                f"{path.name}: {misfit.table} / {misfit.method} / {misfit.task}: printed {misfit.printed}, "
                f"its cells give {misfit.computed}{size}"
            )
    print(f"{wrong} errors")
    return 1 if wrong else 0


def add(path: Path, folder: Path = FOLDER) -> int:
    """Check the rows of a CSV file and add them all, or none."""
    try:
        rows = some_rows(path)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    said = header_problems(rows)
    new: dict[str, list[Entry]] = {}
    lines: dict[str, list[int]] = {}
    for number, row in enumerate(rows if not said else [], start=2):
        entry, wrong = entry_of(row)
        said += [f"line {number}: {text}" for text in wrong]
        if entry is not None:
            new.setdefault(row["paper"], []).append(entry)
            lines.setdefault(row["paper"], []).append(number)
    for paper, entries in new.items():
        known = _reference(paper, folder).entries
        for index, entry in enumerate(entries):
            others = (*known, *entries[:index], *entries[index + 1 :])
            said += [f"line {lines[paper][index]}: {text}" for text in problems(entry, others)]
    if said:
        print("\n".join([f"{path}: nothing was added", *said]), file=sys.stderr)
        return 2
    for paper, entries in new.items():
        reference = _reference(paper, folder)
        target = file_of(paper, folder)
        write(replace(reference, entries=(*reference.entries, *entries)), target)
        print(f"{target.name}: {len(entries)} values added")
    load.cache_clear()
    return 0


def header_problems(rows: list[dict[str, str]]) -> list[str]:
    """What is wrong with the columns of a transcription."""
    columns = set(rows[0])
    said = []
    if set(NEEDED) - columns:
        said.append(f"columns missing: {', '.join(sorted(set(NEEDED) - columns))}")
    if columns - set(NEEDED) - set(OPTIONAL):
        unknown = ", ".join(sorted(str(c) for c in columns - set(NEEDED) - set(OPTIONAL)))
        said.append(f"unknown columns: {unknown}; allowed: {', '.join(NEEDED + OPTIONAL)}")
    return said


def entry_of(row: dict[str, str]) -> tuple[Entry | None, list[str]]:
    """An entry from a CSV row, and what is wrong with it."""
    said = []
    numbers: dict[str, float | None] = {"value": None, "std": None, "correction": None}
    for name in numbers:
        text = (row.get(name) or "").strip()
        try:
            numbers[name] = _number(text) if text else None
        except ValueError:
            said.append(f"{name} {text!r} is not a number")
    if numbers["value"] is None and not said:
        said.append("value is empty; a cell that is not on file is left out, not entered")
    if said or numbers["value"] is None:
        return None, said
    seeds = (row.get("seeds") or UNKNOWN).strip()
    entry = Entry(
        table=row["table"].strip(),
        backbone=row["backbone"].strip(),
        lineage=(row.get("lineage") or UNKNOWN).strip(),
        method=row["method"].strip(),
        task=row["task"].strip(),
        metric=row["metric"].strip(),
        value=numbers["value"],
        spread=numbers["std"],
        split=(row.get("split") or UNKNOWN).strip(),
        seeds=int(seeds) if seeds.isdigit() else seeds,
        selection=(row.get("selection") or UNKNOWN).strip(),
        parameters=(row.get("params") or "").strip() or None,
        source=row["source"].strip(),
        remark=(row.get("remark") or "").strip() or None,
        correction=numbers["correction"],
        unit=(row.get("unit") or "").strip() or None,
    )
    clocks = [text for name in numbers if CLOCK.fullmatch(text := (row.get(name) or "").strip())]
    if clocks and unit_of(entry) not in ("second", "seconds"):
        said = [
            f"{clocks[0]} is kept in seconds, and {entry.metric!r} is in {unit_of(entry)}: name a metric in seconds"
        ]
    return (None, said) if said else (entry, [])


def _number(text: str) -> float:
    """A number, with thousands separated by commas or not, or a time of day as seconds.

    Raises:
        ValueError: neither, or more than 59 minutes or seconds in a time.
    """
    clock = CLOCK.fullmatch(text)
    if clock:
        if float(clock[3]) >= 60 or (clock[1] and int(clock[2]) >= 60):
            raise ValueError(text)
        return 3600.0 * int(clock[1] or 0) + 60.0 * int(clock[2]) + float(clock[3])
    value = float(text.replace(",", "") if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", text) else text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def file_of(paper: str, folder: Path) -> Path:
    """The file that holds a paper, by its file name or by the name inside, or the one it would get."""
    for path in files(folder):
        if paper == path.stem or paper == read(path).paper:
            return path
    return folder / f"{stem(paper)}.yaml"


def stem(paper: str) -> str:
    """The file name of a paper: ID-SPAM -> id_spam."""
    return re.sub(r"[^a-z0-9]+", "_", paper.lower()).strip("_")


def _reference(paper: str, folder: Path) -> Reference:
    """The file of a paper, or an empty one."""
    path = file_of(paper, folder)
    return read(path) if path.exists() else Reference(paper, "", ())


if __name__ == "__main__":
    raise SystemExit(main())
