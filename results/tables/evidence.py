"""What the predictions behind a cell say: its values for the test, or the reason why it is not tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from results.records import Run
from results.tables.state import Filled, State
from results.two_way import Sample, sample
from tasks.metrics import of_nature, sums_of
from tasks.sums import Sums

ONE_RUN = "one trained run (another seed could give another score)"
ONE_UNTRAINED = "untrained, of one seed (another one could draw another prompt)"
NO_PREDICTIONS = "no predictions are kept"
ONE_NUMBER = "one number of a whole grid, or of several seeds together"
NO_SUMS = "its predictions do not give the recorded score, or the metric is no sum over examples"
# why a cell is not held against the others of its column
OTHER_TASK = "of another task than the cells that are compared"
OTHER_METRIC = "scored by another metric than the cells that are compared"
OTHER_SPLIT = "scored on another split than the cells that are compared"
OTHER_ROWS = "scored on other rows than the cells that are compared"
OTHER_DATA = "trained and scored on other contents of the data than the cells that are compared"
OTHER_WEIGHTS = (
    "made with other files of the backbone than the cells that are compared: its branch on the Hub has moved"
)


REASONS = {"task": OTHER_TASK, "metric": OTHER_METRIC, "split": OTHER_SPLIT, "rows": OTHER_ROWS}


@dataclass(frozen=True)
class Measure:
    """What a cell's score is a measurement of: cells of two measures are two questions, whatever column they are in.

    `data` is the observed hash of the data that its runs saw, where records have one; `weights` has those of backbones
    of the Hub, by name (several backbones in a table are several rows).
    """

    task: str = ""
    metric: str = ""
    split: str = ""
    rows: int | None = None
    data: str = ""
    weights: frozenset[tuple[str, str]] = frozenset()

    def unlike(self, other: Measure) -> str:
        """Why two cells are no answers to one question; empty where they are."""
        for name, reason in REASONS.items():
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs and mine is not None and theirs is not None:
                return reason
        if self.data and other.data and self.data != other.data:
            return OTHER_DATA
        known = dict(other.weights)
        alike = all(known.get(name, content) == content for name, content in self.weights)
        return "" if alike else OTHER_WEIGHTS


def measure(filled: Filled) -> Measure:
    """What a cell measures, from its records."""
    if not filled.runs:
        return Measure()
    first = filled.runs[0]
    task = first.get("transfer.to") or first.get("task")  # of a scoring elsewhere: where it was scored
    metric = filled.column.metric or first.primary_metric
    data = sorted({str(value) for run in filled.runs if (value := run.data_content)})
    weights = {(str(run.get("backbone")), run.backbone_content) for run in filled.runs if run.backbone_content}
    return Measure(str(task), metric, first.primary_split, first.size(), ", ".join(data), frozenset(weights))


@dataclass(frozen=True)
class Evidence:
    """A cell's sample and the ids of the examples that it is made of; without a sample, `reason` says why."""

    reason: str = ""
    ids: tuple[str, ...] = ()
    sample: Sample | None = None
    measure: Measure = Measure()

    def unlike(self, other: Evidence) -> str:
        """Why two cells cannot be held against each other: equal ids of another split or other data are other rows."""
        return self.measure.unlike(other.measure) or ("" if self.ids == other.ids else OTHER_ROWS)


def evidence(state: State, filled: Filled) -> Evidence:
    """A cell's evidence, read once."""
    key = id(filled)
    if key not in state.evidence:
        state.evidence[key] = _read(filled)
    found: Evidence = state.evidence[key]
    return found


def _read(filled: Filled) -> Evidence:
    untrained = filled.row.value == "untrained"
    if filled.row.one_number:
        return Evidence(ONE_NUMBER)
    if not filled.runs:
        return Evidence(NO_PREDICTIONS)
    if len(filled.runs) < 2 and (untrained or filled.runs[0].trained):
        kept = not untrained or filled.runs[0].predictions(untrained=True)
        return Evidence((ONE_UNTRAINED if kept else NO_PREDICTIONS) if untrained else ONE_RUN)
    ids: tuple[str, ...] = ()
    groups: list[str] = []
    found, seen = [], []
    for run in filled.runs:
        rows = sorted(run.predictions(untrained=untrained), key=lambda row: str(row.get("id")))
        names = tuple(str(row.get("id")) for row in rows)
        if not rows:
            return Evidence(NO_PREDICTIONS)
        if ids and names != ids:
            return Evidence("its seeds were scored on different rows")
        ids, groups = names, groups_of_rows(rows)
        sums = run_sums(run, filled.column.metric or run.primary_metric, rows, groups, untrained)
        if sums is None:
            return Evidence(NO_SUMS)
        found.append(sums)
        seen.append([row.get("prediction") for row in rows])
    varies = any(run.trained for run in filled.runs)
    if (untrained or not varies) and all(answers == seen[0] for answers in seen):  # nothing is drawn: one run
        found, varies = found[:1], False
    clusters = groups if len(set(groups)) < len(groups) else None
    informs = not untrained and not any(run.drawn for run in filled.runs)
    made = replace(sample(found, clusters, varies), informs=informs)
    return Evidence("", ids, made, replace(measure(filled), rows=None))  # the ids say which rows


def counted_by(run: Run, metric: str) -> int | None:
    """How many units a share is of, where a task's rows belong together (MultiRC's exact match is of questions); None
    where its rows are its units, or no predictions tell."""
    if not run.get("task.group") or metric not in of_nature("proportion"):
        return None
    rows = run.predictions()
    sums = run_sums(run, metric, rows, groups_of_rows(rows)) if rows else None
    return None if sums is None else int(sums.terms[:, -1].sum())


def groups_of_rows(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The cluster of each prediction: its group, else itself."""
    return [str(row.get("group") or row.get("id")) for row in rows]


def run_sums(
    run: Run, metric: str, rows: Sequence[dict[str, Any]], groups: Sequence[str], untrained: bool = False
) -> Sums | None:
    """A run's metric as sums over its predictions, None where that does not give the score of its record."""
    sums, recorded = sums_for(run, metric, rows, groups), run.score(metric=metric, untrained=untrained)
    if sums is None or recorded is None or not np.isclose(float(sums.value(sums.terms.sum(0))), recorded, atol=1e-6):
        return None
    return sums


def sums_for(run: Run, metric: str, rows: Sequence[dict[str, Any]], groups: Sequence[str]) -> Sums | None:
    """A metric as sums over some answers to a run's examples, None where it has no such form."""
    try:
        return sums_of(
            metric,
            [row.get("prediction") for row in rows],
            [row.get("reference") for row in rows],
            label_words(run),
            str(run.get("task.kind", "classification")),
            run.get("protocol.invalid_output"),
            groups,
            run.get("task.mean_of") or (),
        )
    except (KeyError, TypeError, ValueError):
        return None


def label_words(run: Run) -> list[str]:
    """The words that a run answered with, in the order of the labels."""
    labels = run.get("task.labels") or []
    style = run.get("protocol.label_words", "digits")
    words = (run.get("task.label_words") or {}).get(style)
    return [str(word) for word in words] if words else [str(index) for index in range(len(labels))]
