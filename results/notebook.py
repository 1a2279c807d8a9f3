"""What a notebook asks of a ledger: its runs, two methods held against each other, one run's answers.

The verdicts are those of the tables (results/tables/contests.py), never others: Holm over all pairs of a column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.archive import with_archive
from results.ledger import root_of
from results.records import Reading, matches, read_runs
from results.standing import told as told_beside
from results.tables.layout import SETTINGS

if TYPE_CHECKING:
    import pandas

    from results.tables.contests import Contest

COLUMNS = ("task", *SETTINGS, "one", "other", "difference", "low", "high", "p", "different", "note")


def _reading(root: str | Path | None, paper: str) -> Reading:
    reading = read_runs(root_of(root, "root"))
    return with_archive(reading, paper) if paper else reading


def compare(
    one: str, other: str, *, root: str | Path | None = None, paper: str = "", fixtures: bool = False, **where: Any
) -> pandas.DataFrame:
    """One method less another, task by task, as the tables test it.

    Args:
        one, other: names of methods.
        root: the ledger (default: results/runs beside run.py).
        paper: a benchmark whose committed runs count too (`offline_v1`).
        fixtures: let in runs on synthetic rows.
        where: what the runs must have, as in `python -m results.tables` (backbone="smollm2_135m"; a dotted key in a
            dict: **{"method.prompt_length": 20}).

    Returns:
        One row per task and setting (backbone, protocol, label words, fidelity) that has runs of both: `difference`,
        `low` and `high` in points (a 95% interval), `p` after Holm over all pairs of methods there, `different` at 5%;
        where there is no test they are missing and `note` says why.

    Raises:
        results.tables.layout.LayoutError: no run has a key of `where`.
    """
    import pandas

    from results.tables.contests import by_column
    from results.tables.layout import check_filters, free
    from results.tables.state import Options

    reading = _reading(root, paper)
    check_filters(where, reading.runs)
    usable = [run for run in reading.runs if (fixtures or not run.is_fixture) and matches(run, where)]
    settings: dict[tuple[Any, ...], set[str]] = {}
    for run in usable:
        settings.setdefault(tuple(run.get(name) for name in ("task", *SETTINGS)), set()).add(str(run.get("method")))
    rows: list[dict[str, Any]] = []
    options = Options(fixtures=fixtures)
    for values, methods in settings.items():
        if {one, other} <= methods:
            setting = dict(zip(("task", *SETTINGS), values, strict=True))
            own = {**where, **setting}
            ((contests, reasons),) = by_column(free(usable, "method", "task", own), reading, options).values()
            rows.append({**setting, "one": one, "other": other, **_verdict(one, other, contests, reasons)})
    return pandas.DataFrame(rows, columns=list(COLUMNS))


def _verdict(one: str, other: str, contests: Sequence[Contest], reasons: Mapping[str, str]) -> dict[str, Any]:
    """What is known of one method less the other."""
    labels = {told_beside(name, name): name for name in (one, other)}  # as the table's rows are called
    found = [c for c in contests if {c.one, c.other} == set(labels)]
    if not found:
        said = [f"{name}: {reasons[label]}" for label, name in labels.items() if label in reasons]
        return {"note": "; ".join(said) or "they could not be held against each other on the same examples"}
    (seen,) = found
    sign = 1.0 if labels[seen.one] == one else -1.0
    low, high = sorted((sign * seen.low, sign * seen.high))
    told = {"difference": sign * seen.value, "low": low, "high": high, "p": seen.p, "different": seen.significant}
    return told | {"note": ""}


def predictions(
    run: str, split: str | None = None, *, root: str | Path | None = None, paper: str = ""
) -> pandas.DataFrame:
    """The answers of one run.

    Args:
        run: its id or the beginning of it.
        split: which split (default: the one that is reported).
        root, paper: as in `compare`.

    Returns:
        One row per example: id, prediction, reference, group.

    Raises:
        ValueError: no run or several begin so, or it has no predictions there.
    """
    import pandas

    found = [known for known in _reading(root, paper).runs if known.id.startswith(run)]
    if len(found) != 1:
        raise ValueError(f"run={run}: {len(found)} runs begin so; see `results.frame()` for all of them")
    rows = found[0].predictions(split or str(found[0].primary_split))
    if not rows:
        raise ValueError(f"run {found[0].id} has no predictions of {split or found[0].primary_split}")
    return pandas.DataFrame(rows)
