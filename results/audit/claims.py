"""Quoted claims (results/reference/claims.yaml) and what their cells can carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.audit.averages import parts_of
from results.audit.cells import PrintedCell, cells_of
from results.audit.judge import Judged, compare, compare_averages
from results.audit.pairs import Survivors, family
from results.reference import FOLDER, load

PLACE = FOLDER / "claims.yaml"
READINGS = ("tasks", "averages")


@dataclass(frozen=True)
class Claim:
    """One quoted sentence with its comparator and the cells meant."""

    paper: str
    quote: str
    place: str
    method: str
    comparator: str
    names: bool
    cells: tuple[Mapping[str, Any], ...]
    chosen: str = ""


@dataclass(frozen=True)
class Assessed:
    """A claim read on the cells of one table: the pairs, and how many survive together."""

    claim: Claim
    paper: str
    table: str
    reading: str
    pairs: tuple[Judged, ...]
    family: Survivors | None

    @property
    def judged(self) -> list[Judged]:
        """The pairs that have a verdict."""
        return [pair for pair in self.pairs if pair.verdict is not None]


def read(path: Path = PLACE) -> tuple[list[Claim], dict[str, list[Any]], dict[str, list[Any]]]:
    """The claims, and per paper the authors' comments and the errata of the page.

    Raises:
        ValueError: a claim lacks its quote or its place, or names an unknown reading.
    """
    import yaml

    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    claims = []
    for entry in data["claims"]:
        claim = Claim(**{**entry, "cells": tuple(entry["cells"])})
        if not claim.quote.strip() or not claim.place.strip():
            raise ValueError(f"{path.name}: a claim of {claim.paper} has no quote or no place; no quote, no verdict")
        for cells in claim.cells:
            if cells["reading"] not in READINGS:
                raise ValueError(f"{path.name}: reading {cells['reading']!r} must be one of {', '.join(READINGS)}")
        claims.append(claim)
    return claims, data.get("comments") or {}, data.get("errata") or {}


def assess(claim: Claim) -> list[Assessed]:
    """The claim on each of its tables."""
    return [_assess(claim, where, cells_of(where["paper"])) for where in claim.cells]


def _assess(claim: Claim, where: Mapping[str, Any], cells: Sequence[PrintedCell]) -> Assessed:
    table = [cell for cell in cells if cell.table == where["table"]]
    mine = [cell for cell in table if cell.method == claim.method]
    theirs = {(cell.task, cell.metric): cell for cell in table if cell.method == claim.comparator}
    pairs = []
    for cell in mine:
        other = theirs.get((cell.task, cell.metric))
        if other is None or (where.get("only") and cell.task not in where["only"]):
            continue
        if (cell.metric == "mean") != (where["reading"] == "averages"):
            continue
        pairs.append(
            _average_pair(where["paper"], cell, other, cells) if cell.metric == "mean" else compare(cell, other)
        )
    held = [(pair.d.value, pair.verdict) for pair in pairs if pair.verdict is not None]
    return Assessed(
        claim, where["paper"], where["table"], where["reading"], tuple(pairs), family(held) if held else None
    )


def _average_pair(paper: str, a: PrintedCell, b: PrintedCell, cells: Sequence[PrintedCell]) -> Judged:
    reference = load(paper)
    average = next(x for x in (reference.averages if reference else ()) if (x.table, x.task) == (a.table, a.task))
    return compare_averages(a, b, parts_of(cells, a, average), parts_of(cells, b, average))
