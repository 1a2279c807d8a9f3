"""`confirm=N`: the point that validation chose, run again with N fresh seeds, for every method of a finished sweep.

The seeds by which a point was chosen flatter it. Tables show the fresh ones alone (results/selection.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from conf.paths import ledger_of
from conf.plan import Plan, Point, point_of
from conf.resolve import ConfigError
from results.records import Run, matches, read_runs
from results.selection import choose

# what a choice is made within: one method in one cell
WITHIN = ("method", "task", "backbone", "protocol", "protocol.label_words", "fidelity")


def confirming(plan: Plan) -> Plan:
    """The plan of fresh runs of the chosen points; a method that is not finished is a problem that is said.

    The seeds are the first after the largest that any ordinary run of the method on the task was made with, so that the
    same command names the same runs again.
    """
    count = plan.points[0].config.budget.confirm if plan.points else None
    if not count:
        return plan
    ledger = read_runs(ledger_of(plan.points[0].config).root).runs
    by_id = {run.id: run for run in ledger if run.done}
    groups: dict[tuple[Any, ...], list[Point]] = defaultdict(list)
    for point in plan.points:
        run = by_id.get(point.run_id)
        if run is not None and not run.trained:  # nothing is drawn: there is nothing to confirm
            continue
        config = point.config
        rest = (config.protocol.name, config.protocol.label_words, config.fidelity)
        groups[config.method["name"], config.task.name, config.backbone.name, *rest].append(point)
    made: list[Point] = []
    problems = list(plan.problems)
    for key, points in groups.items():
        found = [by_id[point.run_id] for point in points if point.run_id in by_id]
        name = f"{key[0]} on {key[1]} with {key[2]}"
        if len(found) < len(points):
            problems.append(
                f"confirm={count}: {len(points) - len(found)} of {len(points)} runs of {name} are not done; "
                "run the sweep without confirm first"
            )
            continue
        made += _fresh(points, found, ledger, count, name, problems)
    return replace(plan, points=made, problems=problems)


def _fresh(
    points: Sequence[Point], found: Sequence[Run], ledger: Sequence[Run], count: int, name: str, problems: list[str]
) -> list[Point]:
    """The points of the chosen configuration with fresh seeds."""
    tuned = [run for run in found if not run.confirming]
    choice = choose(tuned)
    if not choice.runs:
        problems.append(f"confirm={count}: {name}: {choice.problem or 'nothing was chosen'}")
        return []
    ids = {run.id for run in choice.runs}
    chosen = next(point for point in points if point.run_id in ids)
    where = {facet: choice.runs[0].get(facet) for facet in WITHIN}
    used = [run.get("seed") for run in ledger if matches(run, where) and not run.confirming]
    start = max((seed for seed in used if isinstance(seed, int)), default=0) + 1
    try:
        return [
            point_of(chosen.chosen | {"seed": str(seed), "budget.confirm": str(count)})
            for seed in range(start, start + count)
        ]
    except ConfigError as error:
        problems += error.problems
        return []
