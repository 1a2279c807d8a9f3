"""Published numbers as data: `results/reference/<paper>.yaml`, one entry per cell of a paper's table.

What a source does not say stays the word `unknown`; `not applicable` marks what cannot have it (parameter
counts have no split). Values are as printed (points), times in seconds; where a printed value is believed wrong,
what it should be stands beside it as `correction`. A `quoted` source means that the cell was read in another
document than the paper itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from results.files import write_text

FOLDER = Path(__file__).resolve().parent
ANCHORS = FOLDER / "anchors"  # single scores outside the papers, against which the harness itself is checked
UNKNOWN = "unknown"
NOT_APPLICABLE = "not applicable"
CLAIMS = "claims"  # quoted sentences for results.audit, in the same folder
SPLITS = ("train", "validation", "test", UNKNOWN, NOT_APPLICABLE)
SELECTIONS = ("validation", "reported", "last", "none", UNKNOWN, NOT_APPLICABLE)
EXTRACTED = "extracted text"  # in a remark: read from a text in which the columns of the table may be shifted
# metrics that are no scores in points; `add` knows others by their words or by its column `unit`
UNITS = {
    "trainable parameters": "count",
    "seconds to convergence": "seconds",
    "training seconds": "seconds",
    "peak accelerator memory, GB": "GB",
    "TFLOPs": "TFLOPs",
    "relative gain %": "%",
    "perplexity": "perplexity",
    "PSCP": "PSCP",  # PEFT-Bench's score weighed by parameters, speed and memory
}
POINTS = "points"
WORDS_OF_UNITS = re.compile(
    r"\b(seconds?|minutes?|hours?|days?|bytes?|[KMGT]i?B|param(?:eter)?s|[KMGTP]?FLOPs?|per second)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Entry:
    """One published cell.

    Attributes:
        value: As printed, in points (metrics), seconds (times) or counts.
        spread: Printed standard deviation, None where none is printed.
        split: The split it is on; `seeds`: runs behind it (a number, or unknown); `selection`: the split by
            which checkpoint and settings were chosen ("reported" = on the reported split itself).
        parameters: Trainable parameters as printed.
        remark: Doubts about the copy, why it is corrected, derivations.
        correction: What the value should be, where the printed one is believed wrong.
        unit: Of a metric whose name does not say that it is no score in points (see `unit_of`).
    """

    table: str
    backbone: str
    lineage: str
    method: str
    task: str
    metric: str
    value: float
    spread: float | None
    split: str
    seeds: int | str
    selection: str
    parameters: str | None
    source: str
    remark: str | None = None
    correction: float | None = None
    unit: str | None = None

    @property
    def corrected(self) -> float:
        """The value that is believed: the correction where there is one, else what is printed."""
        return self.value if self.correction is None else self.correction

    @property
    def extracted(self) -> bool:
        """Whether it was read from extracted text with doubtful columns: no sentence is built on it."""
        return EXTRACTED in (self.remark or "")

    @property
    def quoted(self) -> bool:
        """Whether the source is another document than the paper or its repository."""
        return "quoting" in self.source or "secondary" in self.source or "third party" in self.source

    @property
    def blocked_by(self) -> list[str]:
        """What is not known of the cell and so blocks a verdict of reproduced."""
        return [name for name in ("split", "seeds", "selection") if getattr(self, name) == UNKNOWN]


@dataclass(frozen=True)
class Average:
    """Which cells a printed average is the mean of; a task with two metrics counts once, by their mean.

    `tables`: where the cells stand, if not in the average's own table.
    """

    table: str
    task: str
    of: tuple[str, ...]
    tables: tuple[str, ...] = ()


@dataclass(frozen=True)
class Misfit:
    """A printed average that its cells do not give; `corrected`: what they give with the corrections beside them."""

    table: str
    backbone: str
    method: str
    task: str
    printed: float
    computed: float
    digits: int = 1
    corrected: float | None = None

    @property
    def beyond_rounding(self) -> bool:
        """Whether rounding of the cells cannot explain it (half a unit of each cell and of the average)."""
        return abs(self.printed - self.computed) > 10**-self.digits + 1e-9


@dataclass(frozen=True)
class Reference:
    """The published numbers of one paper."""

    paper: str
    about: str
    entries: tuple[Entry, ...]
    averages: tuple[Average, ...] = ()

    def find(
        self,
        method: str,
        task: str,
        table: str | None = None,
        metric: str | None = None,
        backbone: str | None = None,
        split: str | None = None,
    ) -> Entry | None:
        """The first entry that has every wanted value."""
        for entry in self.entries:
            if entry.method == method and entry.task == task:
                wanted = {"table": table, "metric": metric, "backbone": backbone, "split": split}
                if all(value is None or getattr(entry, name) == value for name, value in wanted.items()):
                    return entry
        return None

    def misfits(self) -> list[Misfit]:
        """Printed averages that differ from the rounded mean of their cells, as printed."""
        found = []
        for average in self.averages:
            for entry in self.entries:
                if (entry.table, entry.task) != (average.table, average.task) or entry.metric in UNITS:
                    continue
                cells = [self._cell(entry, average, task) for task in average.of]
                if not all(cells):
                    continue
                computed = _mean_of_means(cells, "value")
                digits = max(1, _decimals(entry.value), *(_decimals(part.value) for cell in cells for part in cell))
                # half a unit of the last printed digit, and a hair for binary fractions
                if abs(computed - entry.value) > 0.5 * 10**-digits + 1e-6:
                    place = (entry.table, entry.backbone, entry.method, entry.task)
                    corrected = _mean_of_means(cells, "corrected")
                    beside = round(corrected, 3) if corrected != computed else None
                    found.append(Misfit(*place, entry.value, round(computed, 3), digits, beside))
        return found

    def _cell(self, entry: Entry, average: Average, task: str) -> list[Entry]:
        """The entries of a task in an average's row, one per metric."""
        return [
            cell
            for cell in self.entries
            if cell.task == task
            and cell.table in (average.tables or (average.table,))
            and (cell.backbone, cell.method) == (entry.backbone, entry.method)
            and unit_of(cell) == POINTS
        ]


def _mean_of_means(cells: Sequence[Sequence[Entry]], name: str) -> float:
    """The mean over tasks of the mean over a task's metrics."""
    return sum(sum(getattr(part, name) for part in cell) / len(cell) for cell in cells) / len(cells)


def _decimals(value: float) -> int:
    """Decimals with which a value is written."""
    return len(f"{value:.10g}".partition(".")[2])


def files(folder: Path = FOLDER) -> list[Path]:
    """The files of published numbers, one per paper."""
    return sorted(path for path in folder.glob("*.yaml") if path.stem != CLAIMS)


def papers() -> list[str]:
    """Papers with published numbers on file."""
    return [path.stem for path in files()]


@lru_cache(maxsize=32)
def load(paper: str) -> Reference | None:
    """The published numbers of a paper (by file name), None where none are on file."""
    for path in (FOLDER / f"{paper}.yaml", ANCHORS / f"{paper}.yaml"):
        if path.exists():
            return read(path)
    return None


def read(path: Path) -> Reference:
    """Read one file of published numbers."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    data = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    entries = tuple(Entry(**entry) for entry in data["entries"])
    averages = tuple(
        Average(a["table"], a["task"], tuple(a["of"]), tuple(a.get("tables") or ())) for a in data.get("averages") or ()
    )
    return Reference(data["paper"], data.get("about", ""), entries, averages)


def write(reference: Reference, path: Path) -> None:
    """Write one file, a line per entry, so that a difference reads as the cells that changed."""
    import yaml

    def line(mapping: dict[str, Any]) -> str:
        text = yaml.safe_dump(mapping, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**9)
        return "  - " + text.strip()

    head = yaml.safe_dump(
        {"paper": reference.paper, "about": reference.about}, sort_keys=False, allow_unicode=True, width=110
    )
    lines = [head.rstrip(), "averages:" if reference.averages else "averages: []"]
    lines += [
        line({"table": a.table, "task": a.task, "of": list(a.of)} | ({"tables": list(a.tables)} if a.tables else {}))
        for a in reference.averages
    ]
    lines += ["entries:" if reference.entries else "entries: []"]
    lines += [line(_written(entry)) for entry in reference.entries]
    write_text(path, "\n".join(lines) + "\n")


def _written(entry: Entry) -> dict[str, Any]:
    """An entry as it is written: the two keys that few entries have are left out where they are empty."""
    return {key: value for key, value in asdict(entry).items() if value is not None or key not in RARE}


def problems(entry: Entry, others: Iterable[Entry] = ()) -> list[str]:
    """What is wrong with an entry, in sentences."""
    where = f"{entry.table} / {entry.method} / {entry.task} / {entry.metric}"
    said = []
    for name in ("table", "backbone", "method", "task", "metric", "source"):
        if not getattr(entry, name):
            said.append(f"{where}: {name} is empty; say `unknown` where the source does not say")
    if entry.split not in SPLITS:
        said.append(f"{where}: split {entry.split!r} must be one of {', '.join(SPLITS)}")
    if entry.selection not in SELECTIONS:
        said.append(f"{where}: selection {entry.selection!r} must be one of {', '.join(SELECTIONS)}")
    if not isinstance(entry.seeds, int) and entry.seeds not in (UNKNOWN, NOT_APPLICABLE):
        said.append(f"{where}: seeds {entry.seeds!r} must be a number or `{UNKNOWN}`")
    if entry.spread is not None and entry.spread < 0:
        said.append(f"{where}: a spread cannot be negative ({entry.spread})")
    if is_score(entry) and not (-100.0 <= entry.value <= 100.0 and -100.0 <= entry.corrected <= 100.0):
        said.append(
            f"{where}: {entry.value} is not in points (-100 to 100); what is no score names its unit in the metric "
            "(seconds, bytes, parameters) or in the column unit"
        )
    if not is_score(entry) and unit_of(entry) != "%" and min(entry.value, entry.corrected) < 0:
        said.append(f"{where}: {entry.value} {unit_of(entry)} cannot be negative")
    others = tuple(others)
    if is_score(entry) and 0.0 < entry.value < 1.0 and entry.unit is None and not _has_points(entry, others):
        said.append(
            f"{where}: {entry.value} looks like a fraction; values are in points (85.0). If it is a score below one "
            "point, say unit=points"
        )
    for other in others:
        if key(other) == key(entry):
            said.append(f"{where}: there is already a value for this cell: {other.value} ({other.source})")
    return said


def _has_points(entry: Entry, others: Iterable[Entry]) -> bool:
    """Whether another value of the same table and metric is above 1, which no column of fractions has."""
    return any((other.table, other.metric) == (entry.table, entry.metric) and other.value > 1.0 for other in others)


def unit_of(entry: Entry) -> str:
    """The unit of a value: the entry's own, else what the name of its metric says, else points."""
    if entry.unit or entry.metric in UNITS:
        return entry.unit or UNITS[entry.metric]
    word = WORDS_OF_UNITS.search(entry.metric)
    return word[0] if word else POINTS


def is_score(entry: Entry) -> bool:
    """Whether the value is a score in points (not a count, a time, a size or a number of operations)."""
    return unit_of(entry) == POINTS


def key(entry: Entry) -> tuple[str, ...]:
    """What makes two entries the same cell."""
    return (entry.table, entry.backbone, entry.method, entry.task, entry.metric, entry.split)


RARE = ("correction", "unit")
