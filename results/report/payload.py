"""What the report page holds, as compact JSON: an index of all runs, and details in compressed blocks.

The index (columns, repeated strings by number) is read when the page opens; a block of details (curves,
configuration, errors of up to 100 runs of one panel) only when something of it is looked at.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from results.plots import palette
from results.plots.runs import BASELINES, Panel, Seen, differing, experiment_of, panels
from results.plots.settings import by_setting
from results.report.details import detail, shared_options

BLOCK = 100  # runs per block of details
GATES_FOR_ALL = 60  # above so many runs with gates, only those chosen on validation carry them
FACTORS = ("status", "method", "task", "backbone", "protocol", "primary_metric", "primary_split", "data_source")
LEVELS = ("ok", "note", "warning", "error")  # of verdicts, from good to bad


@dataclass(frozen=True)
class Payload:
    """The index and the blocks (base64 of gzipped JSON) of a page."""

    index: dict[str, Any]
    blocks: list[str]


def build(runs: Sequence[Seen], problems: Sequence[str], *, title: str, made: str, ledger: str) -> Payload:
    """Everything the page shows.

    Args:
        runs: readable runs of any status.
        problems: a sentence per folder that could not be read.
        title: heading of the page.
        made: when it was made, as shown.
        ledger: name of the ledger, as shown.
    """
    groups = everything_by_panel(runs)
    ordered = [run for _, members in groups for run in members]
    chosen = _chosen(panels(runs))
    points: dict[str, int] = {}
    for run in ordered:
        points.setdefault(run.configuration, len(points))
    blocks, places = _blocks(groups, chosen)
    index = {
        "title": title,
        "made": made,
        "ledger": ledger,
        "problems": list(problems),
        "labels": {method: palette.label(method) for method in _methods(ordered)},
        "order": _methods(ordered),
        "colours": {method: palette.colour(method) for method in _methods(ordered)},
        "markers": {method: palette.marker(method) for method in _methods(ordered)},
        "baselines": sorted(BASELINES),
        "panels": [_panel(panel) for panel, _ in groups],
        "factors": {name: _factor([str(_facet(run, name)) for run in ordered]) for name in FACTORS},
        "columns": _columns(ordered)
        | {
            "panel": [number for number, (_, members) in enumerate(groups) for _ in members],
            "point": [points[run.configuration] for run in ordered],
            "chosen": [int(run.id in chosen) for run in ordered],
            "gates": [int(blocks[block]["runs"][place]["gates"] is not None) for block, place in places],
            "block": [block for block, _ in places],
            "place": [place for _, place in places],
        },
    }
    return Payload(index, [_pack(block) for block in blocks])


def everything_by_panel(runs: Iterable[Seen]) -> list[tuple[Panel, list[Seen]]]:
    """All runs, of whatever status, by the task, backbone and protocol whose axes they share."""
    found: dict[tuple[Any, ...], list[Seen]] = {}
    for run in runs:
        key = (*(str(_facet(run, name)) for name in ("task", "backbone", "protocol")), run.is_fixture)
        found.setdefault(key, []).append(run)
    made = []
    for (task, backbone, protocol, _), members in sorted(found.items()):
        parts = by_setting([run for run in members if run.done]) or [("", [], [])]
        others = [run for run in members if not run.done]
        for words, own, drawn in parts:
            name = f"{protocol}, {words}" if words else protocol
            made.append((Panel(task, backbone, name, drawn), [*own, *others]))
            others = []  # of what is not finished nobody compares scores
    return made


def _facet(run: Seen, name: str) -> Any:
    named: dict[str, Callable[[], Any]] = {
        "status": lambda: run.status,
        "primary_metric": lambda: run.primary_metric,
        "primary_split": lambda: run.primary_split,
        "data_source": lambda: run.data_source,
        "method": lambda: run.method,
    }
    return named[name]() if name in named else run.record.get(name) or "?"


def _methods(runs: Sequence[Seen]) -> list[str]:
    return sorted({run.method for run in runs}, key=palette.order)


def _chosen(found: Sequence[Panel]) -> set[str]:
    """Ids of the runs of the grid points chosen on validation, one point per panel and method."""
    points = [panel.best(method) for panel in found for method in panel.by_method()]
    baselines = [run.id for panel in found for run in panel.runs if run.method in BASELINES]
    return {run.id for point in points if point for run in point.runs} | set(baselines)


def _panel(panel: Panel) -> dict[str, Any]:
    first = panel.runs[0] if panel.runs else None
    return {
        "task": panel.task,
        "backbone": panel.backbone,
        "protocol": panel.protocol,
        "fixture": bool(first and first.is_fixture),
        "metric": panel.metric if first else "",
        "split": first.primary_split if first else "",
        "baselines": [[name, _round(score)] for name, score in panel.rules().items()],
        "validation": [[name, _round(score)] for name, score in panel.rules("validation").items()],
    }


def _factor(values: list[str]) -> dict[str, Any]:
    levels = sorted(set(values))
    numbers = {level: number for number, level in enumerate(levels)}
    return {"levels": levels, "codes": [numbers[value] for value in values]}


def _columns(runs: Sequence[Seen]) -> dict[str, list[Any]]:
    def column(read: Callable[[Seen], Any]) -> list[Any]:
        return [read(run) for run in runs]

    variants = _variants(runs)

    def field(name: str) -> list[Any]:
        return [_round(run.record.get(name)) for run in runs]

    return {
        "id": column(lambda run: run.id),
        "variant": [variants.get(run.id, "") for run in runs],
        "seed": column(lambda run: run.record.get("seed")),
        "score": column(lambda run: _round(run.score())),
        "validation": column(lambda run: _round(run.score("validation"))),
        "untrained": column(lambda run: _round(run.untrained())),
        "rate": column(lambda run: run.learning_rate()),
        "length": column(Seen.prompt_length),
        "experiment": column(experiment_of),
        "reason": column(lambda run: str(run.record.get("reason") or "")[:300]),
        "level": column(worst_level),
        "warnings": column(lambda run: sum(v.get("level") in LEVELS[2:] for v in verdicts(run))),
        "fixture": column(lambda run: int(run.is_fixture)),
        "generated": column(lambda run: int(bool(run.record.get("generated")))),
        "packed": column(lambda run: int(run.packed)),
        # records of before hold 0 where every answer is right, or none: that is not known, and no certainty
        "error": column(lambda run: _round(run.record.get("standard_error")) or None),
        "selected": field("selected_step"),
        "parameters": field("trainable_parameters"),
        "steps": field("steps"),
        "train_speed": field("train_examples_per_second"),
        "eval_speed": field("eval_examples_per_second"),
        "memory": field("peak_memory_bytes"),
        "seconds": field("wall_seconds"),
    }


def _variants(runs: Sequence[Seen]) -> dict[str, str]:
    """What tells several zero-shot or majority runs of a panel apart (label words, say), by run id."""
    found = {}
    for panel in panels(runs):
        for method in BASELINES:
            members = [run for run in panel.runs if run.method == method]
            several = differing(members)
            for run in members:
                found[run.id] = ", ".join(str(run.options.get(key)) for key in several)
    return found


def verdicts(run: Seen) -> list[dict[str, Any]]:
    """The guard rails' verdicts of a run, those that can be read."""
    found = run.record.get("verdicts")
    return [verdict for verdict in found if isinstance(verdict, dict)] if isinstance(found, list) else []


def worst_level(run: Seen) -> int:
    """Place of the worst verdict among `LEVELS`, -1 where there is none."""
    known = [LEVELS.index(v["level"]) for v in verdicts(run) if v.get("level") in LEVELS]
    return max(known, default=-1)


def _blocks(
    groups: list[tuple[Panel, list[Seen]]], chosen: set[str]
) -> tuple[list[dict[str, Any]], list[tuple[int, int]]]:
    """Details of the runs, panel by panel, and where each run's are: (block, place in it)."""
    everyone = sum((run.folder / "diagnostics" / "gates.json").exists() for _, runs in groups for run in runs)
    blocks: list[dict[str, Any]] = []
    places = []
    for _, members in groups:
        for start in range(0, len(members), BLOCK):
            part = members[start : start + BLOCK]
            shared = shared_options(part)
            details = [detail(run, shared, gates=everyone <= GATES_FOR_ALL or run.id in chosen) for run in part]
            places += [(len(blocks), place) for place in range(len(part))]
            blocks.append({"shared": shared, "runs": details})
    return blocks, places


def _pack(block: dict[str, Any]) -> str:
    text = json.dumps(block, ensure_ascii=False, separators=(",", ":"), default=str, allow_nan=False)
    # no time in the gzip header: the same ledger gives the same bytes
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def _round(value: Any) -> float | int | None:
    """A number at five significant digits (the page shows three or four), None for what is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if isinstance(value, int):
        return value
    return float(f"{value:.5g}")
