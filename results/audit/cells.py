"""Published cells with their test sets: what is known of each, its standard error, or why it is not audited."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from results.audit import standard_errors
from results.audit.standard_errors import Range, Training
from results.reference import POINTS, Entry, Reference, load, unit_of
from tasks.kinds import KINDS, Kind
from tasks.metrics import of_nature

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class ScoredSet:
    """What a score is computed on.

    Attributes:
        name: the data set, the same for one that stands in two suites (RTE).
        kind: as in conf/task: classification, regression, qa, ...
        n: examples; classes: gold examples per class, in the order of the labels; groups: questions (MultiRC).
        whole: size of the undivided set, where the protocol reports half of it.
        clustered: examples share passages, so that the error is a lower bound.
        source: "counted", "published row counts", or a sentence.
    """

    name: str
    kind: str
    n: int
    classes: Mapping[str, int] | None = None
    groups: int | None = None
    whole: int | None = None
    clustered: bool = False
    source: str = ""


@dataclass(frozen=True)
class PrintedCell:
    """One printed score, in points, with all that the audit reads of it."""

    table: str
    backbone: str
    method: str
    task: str
    metric: str
    value: float
    decimals: int
    runs: int | None
    spread: float | None = None
    spread_kind: str = "unknown"
    divisor: str = "unknown"
    split: str = "unknown"
    selection: str = "unknown"
    origin: str = "unknown"
    source: str = ""
    best_of: int | None = None
    derived: bool = False
    correction: str = ""  # why the value is not the printed one
    exact: float | None = None  # exact match beside token F1
    test: ScoredSet | None = None
    why_not: str = field(default="", compare=False)

    @property
    def half_unit(self) -> float:
        """Half a unit of the last printed decimal, as a fraction; one more where the value was derived from two."""
        return (2 if self.derived else 1) * 0.5 * 10.0**-self.decimals / 100.0

    @property
    def training(self) -> Training | None:
        """The printed spread between runs, where there is one and the number of runs is known."""
        if self.spread is None or self.runs is None or self.runs < 2:
            return None
        return Training(self.spread / 100.0, self.runs, self.spread_kind, self.divisor)


def error_of(cell: PrintedCell) -> tuple[Range | None, str]:
    """Standard error from the test set alone (a fraction), and where there is none the reason."""
    test, value = cell.test, cell.value / 100.0
    if test is None:
        return None, cell.why_not or "its test set is not on file"
    if cell.metric in of_nature("proportion"):
        n = items_of(cell)
        unknown = (None, "the number of questions is not on file")
        return (Range.exact(standard_errors.accuracy_floored(value, n)), "") if n else unknown
    if cell.metric in of_nature("correlation"):
        return Range.exact(standard_errors.correlation(value, test.n, rank=cell.metric == "spearman")), ""
    if cell.metric == "matthews":
        if not test.classes or len(test.classes) != 2:
            return None, "the class counts of its test set are not on file"
        first, second = test.classes.values()
        return Range.exact(standard_errors.matthews(value, test.n, (first, second))), ""
    if cell.metric in ("f1", "f1a"):
        return _f1(cell, value, test)
    if cell.metric in ("f1_macro", "mean of accuracy and macro-F1"):
        return None, "macro F1 without counts"
    return None, f"metric {cell.metric!r} has no formula here"


def _f1(cell: PrintedCell, value: float, test: ScoredSet) -> tuple[Range | None, str]:
    """The three metrics that are called F1: tokens of answers, one class, entities."""
    if _kind(test).several:
        exact = None if cell.exact is None or cell.exact > cell.value else cell.exact / 100.0
        return standard_errors.token_f1(value, test.n, exact), ""
    if _kind(test).tags:
        return None, "entity F1 without counts"
    if not test.classes:
        return None, "the class counts of its test set are not on file"
    if len(test.classes) != 2:
        return None, "macro F1 without counts"
    return standard_errors.f1_of_class(value, list(test.classes.values())[1], test.n), ""


def _kind(test: ScoredSet) -> Kind:
    """What kind of task a test set is of; nothing is known of one that is on file as unknown."""
    return KINDS.get(test.kind, Kind())


def items_of(cell: PrintedCell) -> int | None:
    """How many whole items an accuracy or exact match is over (questions, where rows are answers)."""
    if cell.test is None or cell.metric not in of_nature("proportion"):
        return None
    return cell.test.groups if cell.metric == "em" and _kind(cell.test).closed else cell.test.n


@lru_cache(maxsize=1)
def designs() -> dict[str, list[dict[str, Any]]]:
    """Paper -> its tables' designs."""
    return _yaml("designs.yaml")


@lru_cache(maxsize=1)
def sizes() -> dict[str, dict[str, Any]]:
    """Task -> kind and sizes per protocol."""
    return _yaml("sizes.yaml")


def _yaml(name: str) -> Any:
    import yaml

    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def design_of(paper: str, table: str) -> dict[str, Any] | None:
    """The design of one table, None where it is not on file."""
    return next((design for design in designs().get(paper) or () if design["table"] == table), None)


def test_set(design: Mapping[str, Any], task: str) -> ScoredSet | None:
    """The test set of a printed column, None where it is not on file."""
    named = design["sets"].get(task)
    clustered = task in design["clustered"]
    if isinstance(named, Mapping):
        return ScoredSet(named["name"], named["kind"], named["n"], clustered=clustered, source=named["source"])
    held = sizes().get(named or "", {})
    size = held.get(design.get("protocol", ""))
    if size is None:
        return None
    return ScoredSet(
        name=str(named).rpartition("/")[2],
        kind=held["kind"],
        n=size["n"],
        classes=size.get("classes"),
        groups=size.get("groups"),
        whole=held.get(design["whole"], {}).get("n"),
        clustered=clustered,
        source="counted" if size["counted"] else "published row counts",
    )


def cells_of(paper: str, reference: Reference | None = None) -> list[PrintedCell]:
    """Every published cell of a paper (averages too, without a test set), in the order on file."""
    if reference is not None:
        return _cells(paper, reference)
    return list(_on_file(paper))


@lru_cache(maxsize=64)
def _on_file(paper: str) -> tuple[PrintedCell, ...]:
    reference = load(paper)
    return tuple(_cells(paper, reference)) if reference else ()


def _cells(paper: str, reference: Reference) -> list[PrintedCell]:
    usual = usual_decimals(reference.entries)
    beside: dict[tuple[str, ...], float] = {
        (e.table, e.backbone, e.method, e.task): e.corrected for e in reference.entries if e.metric == "em"
    }
    return [_cell(paper, entry, usual[entry.table], beside) for entry in reference.entries]


def usual_decimals(entries: Sequence[Entry]) -> dict[str, int]:
    """Decimals that most values of a table show (93.0 is stored as a number, its zero is lost)."""
    counts: dict[str, Counter[int]] = {}
    for entry in entries:
        counts.setdefault(entry.table, Counter())[decimals(entry.value)] += 1
    return {table: max(1, max(seen, key=lambda d: (seen[d], d))) for table, seen in counts.items()}


def decimals(value: float) -> int:
    """Decimals with which a number is written, no trailing zeros."""
    return len(f"{value:.10g}".partition(".")[2])


def _cell(paper: str, entry: Entry, usual: int, beside: Mapping[tuple[str, ...], float]) -> PrintedCell:
    design = design_of(paper, entry.table)
    test, why = None, ""
    if unit_of(entry) != POINTS:
        why = "no score in points"
    elif entry.extracted:
        why = "read from extracted text; kept out until the original was seen"
    elif entry.metric == "mean":
        why = "an average"
    elif design is None:
        why = "its test set is not on file"
    elif entry.split == "unknown":
        why = "its split is not known"
    elif entry.split == "validation" and design["table"] == "released runs":
        why = "a score on the selecting split"
    else:
        test = test_set(design, entry.task)
    own = bool(design) and (design or {}).get("origin") == "own"
    named = bool(design) and entry.method == (design or {}).get("method")
    return PrintedCell(
        table=entry.table,
        backbone=entry.backbone,
        method=entry.method,
        task=entry.task,
        metric=entry.metric,
        value=entry.corrected,
        decimals=max(decimals(entry.value), usual),
        runs=entry.seeds if isinstance(entry.seeds, int) else None,
        spread=entry.spread,
        spread_kind=(design or {}).get("spread", {}).get("kind", "unknown"),
        divisor=(design or {}).get("spread", {}).get("divisor", "unknown"),
        split=entry.split,
        selection=entry.selection,
        origin="own run" if own or named else (design or {}).get("origin", "unknown"),
        source=entry.source,
        best_of=((design or {}).get("best_of") or {}).get(entry.method),
        derived=entry.source.startswith("derived") or "derived:" in (entry.remark or ""),
        correction=f"printed {entry.value} in the source, {entry.corrected} here" if entry.correction else "",
        exact=beside.get((entry.table, entry.backbone, entry.method, entry.task)),
        test=test,
        why_not=why,
    )
