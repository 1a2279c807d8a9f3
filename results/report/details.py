"""Details of one run for its page: configuration, verdicts, curves, provenance and a sample of its errors."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any

from results.plots.runs import Seen
from results.sound import sound_line

CURVE_POINTS = 80
ERRORS = 8
TEXT = 240  # characters of a prediction, reference or source
ROWS_READ = 1000  # predictions looked at per run
LABELS_IN_CONFUSION = 6
PRIVATE = ("cache.", "ledger.")  # folders of the machine that ran it: of no use to a reader elsewhere
EXTRA_FIELDS = ("source", "text", "input", "question")


def shared_options(runs: Sequence[Seen]) -> dict[str, Any]:
    """Dotted options that all runs of a block have in common, so that they are written once."""
    first, *rest = (run.options for run in runs)
    return {key: clean(value) for key, value in first.items() if all(key in o and o[key] == value for o in rest)}


def detail(run: Seen, shared: dict[str, Any], *, gates: bool) -> dict[str, Any]:
    """What the page of one run shows beyond the index."""
    record = run.record
    found = run.gates() if gates else None
    return {
        "options": {
            key: clean(value) for key, value in run.options.items() if key not in shared and not key.startswith(PRIVATE)
        },
        "verdicts": clean(record.get("verdicts") or []),
        "metrics": clean(record.get("metrics") or {}),
        "untrained": clean(record.get("untrained_metrics") or {}),
        "data": clean(record.get("data") or {}),
        "versions": clean(record.get("versions") or {}),
        "more": clean(_remaining(record)),
        "loss": pairs(run.losses()),
        "curves": {split: pairs(run.curve(split)) for split in _splits(run)},
        "errors": errors(run),
        "gates": {key: clean(found.get(key)) for key in ("layers", "layer_gate")} if found else None,
        "gates_left_out": not gates and run.gates() is not None,
    }


# fmt: off
SHOWN_ELSEWHERE = frozenset([
    "run_id", "status", "reason", "method", "task", "backbone", "protocol", "seed", "config", "data", "metrics",
    "untrained_metrics", "primary_metric", "primary_split", "versions", "verdicts", "steps",
])
# fmt: on


def _remaining(record: dict[str, Any]) -> dict[str, Any]:
    """Fields of the record that have no place of their own on the page (host, machine, timings, ...)."""
    return {
        key: value if len(json.dumps(value, default=str)) < 600 else f"{str(value)[:300]}…"
        for key, value in record.items()
        if key not in SHOWN_ELSEWHERE
    }


def _splits(run: Seen) -> list[str]:
    return sorted({str(row["split"]) for row in run.history if row.get("split")})


def pairs(curve: Sequence[tuple[int, float]]) -> list[list[float]]:
    """A curve as [steps, values] at no more than `CURVE_POINTS` points, ends kept, values at five digits."""
    finite = [(step, value) for step, value in curve if math.isfinite(value)]
    if len(finite) > CURVE_POINTS:
        stride = (len(finite) - 1) / (CURVE_POINTS - 1)
        finite = [finite[round(place * stride)] for place in range(CURVE_POINTS)]
    return [[step for step, _ in finite], [float(f"{value:.5g}") for _, value in finite]]


def errors(run: Seen) -> dict[str, Any] | None:
    """A sample of wrong predictions on the reported split, evenly spaced, and the confusion of few labels.

    For numbers (regression) the sample holds the largest differences. None where no predictions were kept.
    """
    splits = [run.primary_split, "test", "validation"]
    paths = [run.folder / f"predictions.{split}.jsonl" for split in splits]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        return None
    rows = _first_rows(path)
    numeric = bool(rows) and all(isinstance(row.get("reference"), float) for row in rows)
    wrong = [row for row in rows if not agrees(row.get("prediction"), row.get("reference"))]
    if numeric:
        wrong.sort(key=_difference, reverse=True)
        sample = wrong[:ERRORS]
    else:
        sample = (
            [wrong[round(i * (len(wrong) - 1) / (ERRORS - 1))] for i in range(ERRORS)] if len(wrong) > ERRORS else wrong
        )
    return {
        "split": path.name.split(".")[1],
        "rows": len(rows),
        "wrong": len(wrong),
        "capped": len(rows) == ROWS_READ,
        "numeric": numeric,
        "sample": [_shown(row) for row in sample],
        "confusion": None if numeric else confusion(rows),
    }


def _first_rows(path: Any) -> list[dict[str, Any]]:
    rows = []
    with path.open("rb") as handle:
        for line in islice(handle, ROWS_READ):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                break  # torn while it was written, or no text at all
            if isinstance(row, dict) and sound_line(row):
                rows.append(row)
    return rows


def agrees(prediction: Any, reference: Any) -> bool:
    """Whether a prediction is its reference, or one of several accepted ones, apart from outer spaces and case."""
    if prediction == reference:
        return True
    several = isinstance(reference, list) and not isinstance(prediction, list)
    accepted = reference if several else [reference]
    return any(_plain(prediction) == _plain(one) for one in accepted)


def _plain(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value, default=str)).strip().casefold()


def _difference(row: dict[str, Any]) -> float:
    try:
        return abs(float(row["prediction"]) - float(row["reference"]))
    except (TypeError, ValueError, KeyError):
        return math.inf


def _shown(row: dict[str, Any]) -> list[str]:
    text = next((row[key] for key in EXTRA_FIELDS if row.get(key)), "")
    return [_cut(row.get("id")), _cut(row.get("prediction")), _cut(row.get("reference")), _cut(text)]


def _cut(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= TEXT else text[: TEXT - 1] + "…"


def confusion(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Counts of predictions per reference where both take few values, None otherwise (free text, tags, spans)."""
    cells = [(row.get("reference"), row.get("prediction")) for row in rows]
    if not cells or any(isinstance(value, list | dict) for cell in cells for value in cell):
        return None
    counts = Counter((_cut(reference), _cut(prediction)) for reference, prediction in cells)
    labels = sorted({reference for reference, _ in counts})
    if len(labels) > LABELS_IN_CONFUSION:
        return None
    known = sum(counts[one, other] for one in labels for other in labels)
    return {
        "labels": labels,
        "counts": [[counts[one, other] for other in labels] for one in labels],
        "elsewhere": len(rows) - known,
    }


def clean(value: Any) -> Any:
    """The value as JSON can hold it: NaN and infinities as None, floats at six digits, unknown types as text."""
    if isinstance(value, dict):
        return {str(key): clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [clean(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)
