"""Contrasts declared beforehand: at most eight pairs of rows, in a file of their own whose hash and date are shown.

`results/layouts/contrasts/<paper>.yaml`:

    declared: 2026-11-25
    tables:
      reviews: [[DePT, PT], [ADePT, DePT]]      # labels of rows: the first less the second, in every column of scores

They are corrected among themselves (Holm); everything else in a table is exploratory.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from results.records import Reading
from results.statistics import holm
from results.tables.checked import LayoutError
from results.tables.compare import LEVEL, difference
from results.tables.layout import FOLDER, Layout
from results.tables.state import Options, State

MOST = 8


@dataclass(frozen=True)
class Declared:
    """The contrasts of one table: pairs of labels, the date, and the beginning of their file's sha256."""

    pairs: tuple[tuple[str, str], ...]
    date: str
    digest: str


def load(layout: Layout, folder: Path | None = None) -> Declared | None:
    """What was declared for a table, None where nothing was.

    Raises:
        LayoutError: More than eight, a label that the table does not have, or no date.
    """
    path = (folder or FOLDER / "contrasts") / f"{layout.paper}.yaml"
    if not layout.paper or not path.is_file():
        return None
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    pairs = (content.get("tables") or {}).get(layout.name) or []
    if not pairs:
        return None
    where = f"contrasts of {layout.paper} table {layout.name}"
    if len(pairs) > MOST:
        raise LayoutError(f"{where}: {len(pairs)} are declared; at most {MOST} leave any power")
    if not content.get("declared"):
        raise LayoutError(f"{where}: the file has no date (declared: YYYY-MM-DD)")
    labels = [row.label for row in layout.rows]
    unknown = sorted({str(label) for pair in pairs for label in pair} - set(labels))
    if unknown or any(len(pair) != 2 for pair in pairs):
        wrong = ", ".join(unknown) or "a contrast"
        raise LayoutError(f"{where}: {wrong} is no pair of rows; rows: {', '.join(labels)}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return Declared(tuple((str(a), str(b)) for a, b in pairs), str(content["declared"]), digest)


def sentence(state: State) -> str:
    """The declared contrasts with their verdicts, for a caption; empty where there are none."""
    declared = load(state.asked or state.layout)
    if declared is None:
        return ""
    rows = {row.label: index for index, row in enumerate(state.layout.rows)}
    found, untested = [], []
    for one, other in declared.pairs:
        for column in state.layout.columns:
            if column.kind != "score":
                continue
            name = f"{one} less {other}"
            if len([c for c in state.layout.columns if c.kind == "score"]) > 1:
                name += f" ({column.label})"
            if one not in rows or other not in rows:  # its runs differ in a setting: which of them is meant?
                untested.append(f"{name}, of several settings")
                continue
            a, b = state.filled[rows[one], column.key], state.filled[rows[other], column.key]
            seen = difference(state, a, b) if a.runs and b.runs else None
            if seen is None:
                untested.append(name)
            else:
                found.append((name, seen))
    adjusted = holm([seen.p for _, seen in found])
    said = [
        f"{name} {100 * seen.value:+.1f} [{100 * seen.low:+.1f}, {100 * seen.high:+.1f}], p = {p:.3f}, "
        + ("different" if p <= LEVEL else "not told apart")
        for (name, seen), p in zip(found, adjusted, strict=True)
    ]
    if untested:
        said.append(f"not tested: {', '.join(untested)}")
    return (
        f"Contrasts declared on {declared.date} (file sha256 {declared.digest}), Holm among these {len(found)} at 5%: "
        f"{'; '.join(said)}. Everything else here is exploratory."
    )


def text(layout: Layout, reading: Reading, options: Options) -> str:
    """The sentence on a table's contrasts as a paragraph, empty where nothing was declared."""
    from results.tables.build import fill

    if load(layout) is None:
        return ""
    said = sentence(fill(layout, reading, replace(options, significance=False))[0])
    return f"\n{said}\n"
