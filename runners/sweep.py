"""A multirun from its command line to its exit code: planned, checked, skipped where done, run, summed up.

One failing run does not stop the others (unless `fail_fast=true`); Ctrl-C leaves a sweep that the same command goes on
with. Where the points run is the launcher's choice (`hydra/launcher=`): basic runs them here one after another.
"""

from __future__ import annotations

import dataclasses
import gc
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from conf.paths import ledger_of
from conf.plan import Plan, Point, make_plan, processes
from conf.resolve import ConfigError
from results.ledger import default_root
from runners.confirm import confirming
from runners.controls import with_controls
from runners.fresh import refreshed
from runners.job import run_point
from runners.outcome import Outcome, outcome_of, told
from runners.survey import LIMIT_HOURS, PointState, hours, hours_text, show, survey

ROOT = Path(__file__).resolve().parents[1]
Runner = Callable[[Plan, Sequence[Point]], dict[str, Outcome]]
HERE = ("basic", "packed")  # launchers whose runs share this process
ENDED_ALL = ("interrupted", "stopped")  # these end the sweep, not only the run


def main(overrides: Sequence[str]) -> int:
    """Plan and run what a command line asks for; returns the exit code.

    0 all done, 1 some failed, 2 refused (nothing was started), 3 some held by other processes, 75 and 130 stopped.
    """
    rank, count = processes()
    plan = with_controls(confirming(make_plan(overrides)))
    if count > 1 and plan.launcher != "basic":
        plan.problems.append(
            f"hydra/launcher={plan.launcher}: under torchrun every process runs the same list; leave it out"
        )
    states = survey(plan)
    run, unfit = _runner(plan)
    plan.problems.extend(unfit)
    if plan.only_shown and not plan.problems:
        if rank == 0:
            print(show(plan, states))
        return 0
    todo = [point for point, state in zip(plan.points, states, strict=True) if count > 1 or _wanted(point, state)]
    problems = plan.problems + _unfit(todo)
    problems = problems or _too_long(plan, states)
    if problems:
        return refuse(problems) if rank == 0 else 2
    if rank == 0:
        print("".join(f"note: {note}\n" for note in plan.notes), end="", file=sys.stderr)
    stale = [state for state in states if state.status == "stale"]
    if rank == 0 and stale and not plan.points[0].config.retry_stale:
        print(
            f"note: {len(stale)} finished runs are stale, and no table takes them ({stale[0].reason}); "
            "retry_stale=true trains them again",
            file=sys.stderr,
        )
    if rank == 0 and todo:
        print(
            f"{len(todo)} of {len(plan.points)} points to run, {hours_text(_of(plan, states, todo))}", file=sys.stderr
        )
    # several processes would each ask the ledger at another instant: there the main one decides, point by point
    outcomes = {p.run_id: o for p, s in zip(plan.points, states, strict=True) if (o := _kept(p, s)) is not None}
    outcomes |= run(plan, todo) if todo else {}
    return _sum_up(plan, outcomes, quiet=rank > 0)


def refuse(problems: Sequence[str]) -> int:
    """Say why nothing was started."""
    print("nothing was started:", file=sys.stderr)
    for problem in problems:
        print("  - " + problem.replace("\n", "\n    "), file=sys.stderr)
    return 2


def _wanted(point: Point, state: PointState) -> bool:
    config = point.config
    if config.force or (config.retry_stale and state.status == "stale"):
        return True
    return state.status not in ("done", "stale") and (state.status != "failed" or config.retry_failed)


def _kept(point: Point, state: PointState) -> Outcome | None:
    """The outcome of a point that is not run again."""
    if _wanted(point, state):
        return None
    run = ledger_of(point.config).run(point.run_id)
    record = run.record()
    if record and state.status == "stale":  # tables leave it out
        record = refreshed(point.config, run, record | {"status": "done"}) | {"status": "done"}
    return outcome_of(record, skipped=True) if record else None


def _of(plan: Plan, states: Sequence[PointState], todo: Sequence[Point]) -> list[PointState]:
    wanted = {point.run_id for point in todo}
    return [
        dataclasses.replace(s, status="missing") for p, s in zip(plan.points, states, strict=True) if p.run_id in wanted
    ]


def _too_long(plan: Plan, states: Sequence[PointState]) -> list[str]:
    """A day of computing wants a yes: from the command line, never from a prompt."""
    total = hours([s for p, s in zip(plan.points, states, strict=True) if _wanted(p, s)])
    if total <= LIMIT_HOURS or any(point.config.yes for point in plan.points):
        return []
    return [
        f"{len(plan.points)} points would take {hours_text(states)}. Add yes=true to start them all the same, "
        "plan=true to see them, or take a smaller budget (budget=reduced, runner.max_steps=N)"
    ]


def _unfit(points: Sequence[Point]) -> list[str]:
    """What only the methods themselves know is wrong, for all points at once, each problem said once."""
    if not points:
        return []
    from runners.problems import problems_of

    found: dict[str, list[Point]] = {}
    for point in points:
        for problem in problems_of(point.config):
            found.setdefault(problem, []).append(point)
    return [
        f"{problem} ({len(bad)} of {len(points)} points, e.g. {' '.join(bad[0].overrides)})"
        for problem, bad in found.items()
    ]


def _runner(plan: Plan) -> tuple[Runner, list[str]]:
    """What runs the points: this process, or Hydra's launcher; and what is wrong with that launcher."""
    if plan.launcher == "basic":
        return in_process, []
    from runners.launch import launch, launcher_for

    root = ledger_of(plan.points[0].config).root if plan.points else default_root()
    try:
        launcher = launcher_for(plan, root / ".launcher")
    except ConfigError as error:
        return in_process, error.problems

    def run(plan: Plan, points: Sequence[Point]) -> dict[str, Outcome]:
        for point in points if plan.launcher != "packed" else ():  # their lines have the id alone
            print(f"run {point.run_id}: {plan.label(point)}", file=sys.stderr, flush=True)
        try:
            returned = launch(launcher, points)
        except KeyboardInterrupt:
            returned = [None] * len(points)
            print("interrupted", file=sys.stderr)
        return {
            point.run_id: Outcome(**outcome) if outcome else _from_ledger(point)
            for point, outcome in zip(points, returned, strict=True)
        }

    return run, []


def in_process(plan: Plan, points: Sequence[Point]) -> dict[str, Outcome]:
    """One after another in this process: the backbone is kept, Accelerate's state forgotten, memory given back."""
    outcomes: dict[str, Outcome] = {}
    first = _settings(points[0])
    rank, _ = processes()
    for number, point in enumerate(points, start=1):
        if rank == 0:
            print(f"[{number}/{len(points)}] {plan.label(point)}", file=sys.stderr, flush=True)
        try:
            same = _settings(point) == first
            outcome = run_point(point.resolved, sweep=True) if same else in_child(point)
        except KeyboardInterrupt:
            outcome = Outcome("interrupted", point.run_id, reason="interrupted")
        outcomes[point.run_id] = outcome
        give_back()
        if rank == 0:
            said = outcome.reason if outcome.status != "done" and outcome.reason else outcome.line
            print(f"  {said}", file=sys.stderr, flush=True)
        if outcome.status in ENDED_ALL or (outcome.status in ("failed", "refused") and point.config.fail_fast):
            break
    return outcomes


def in_child(point: Point) -> Outcome:
    """A run in a process of its own: precision, device and threads are settings of a whole process."""
    command = [sys.executable, str(ROOT / "run.py"), *point.overrides]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode == 130:
        raise KeyboardInterrupt
    return _from_ledger(point)


def give_back() -> None:
    """Return what the last run no longer needs to the machine; the backbone stays."""
    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _settings(point: Point) -> tuple[Any, ...]:
    runner = point.config.runner
    return runner.precision, runner.device, runner.threads


def _from_ledger(point: Point) -> Outcome:
    """What the ledger says of a run whose process gave no answer."""
    try:
        record = ledger_of(point.config).run(point.run_id).record()
    except ValueError as error:
        return Outcome("failed", point.run_id, reason=str(error))
    if record is None:
        return Outcome("interrupted", point.run_id, reason="not started")
    if record["status"] == "running":
        return Outcome(
            "held", point.run_id, reason=f"still running (process {record.get('process')} on {record.get('host')})"
        )
    return outcome_of(record)


def _sum_up(plan: Plan, outcomes: dict[str, Outcome], quiet: bool) -> int:
    """One line per point, the best point per method and task, one summary line; the exit code of the sweep."""
    statuses = [outcomes[p.run_id].status if p.run_id in outcomes else "not run" for p in plan.points]
    counts = Counter("refused or failed" if status in ("failed", "refused") else status for status in statuses)
    if not quiet:
        for point in plan.points:
            outcome = outcomes.get(point.run_id) or Outcome("interrupted", point.run_id)
            named = plan.label(point)
            print(told(outcome, named) if point.run_id in outcomes else f"run {point.run_id} not run  {named}")
        for line in best_points(plan):
            print(line)
        if any(status != "done" for status in statuses):
            retry = (
                ["retry_failed=true"] if counts["refused or failed"] and "retry_failed=true" not in plan.command else []
            )
            print(f"go on with: {plan.line(*retry)}")
        skipped = sum(outcome.skipped for outcome in outcomes.values() if outcome.status == "done")
        parts = [
            f"{n} {status}" + (f" ({skipped} already)" if status == "done" and skipped else "")
            for status, n in counts.items()
        ]
        print(f"sweep of {len(plan.points)} points: {', '.join(parts)}")
    for status, code in (("interrupted", 130), ("stopped", 75)):
        if status in statuses and plan.launcher in HERE:
            return code
    if set(statuses) <= {"done"}:
        return 0
    return 3 if set(statuses) <= {"done", "held"} else 1


def best_points(plan: Plan) -> list[str]:
    """The point that validation chooses, per method, task and backbone, with the trials that it was chosen from."""
    from results.plots.settings import by_setting
    from results.records import read_runs
    from results.selection import choose

    roots = {ledger_of(point.config).root for point in plan.points}
    wanted = {point.run_id: point for point in plan.points}
    groups: dict[tuple[str, str, str], list[Any]] = {}
    for root in sorted(roots):
        for run in read_runs(root).runs:
            if run.id in wanted and run.done:
                key = (run.record["method"], run.record["task"], run.record["backbone"])
                groups.setdefault(key, []).append(run)
    lines = []
    parted = [(key, words, own) for key, runs in groups.items() for words, own, _ in by_setting(runs)]
    for (method, task, backbone), words, runs in parted:
        choice = choose(runs)
        if not choice.runs or len(choice.trials) < 2:
            continue
        chosen = next(trial for trial in choice.trials if choice.runs[0] in trial.runs + trial.fresh)
        scores = f"validation {100 * chosen.selection:.1f}" if chosen.selection is not None else ""
        if chosen.reported is not None:
            scores += f", reported {100 * chosen.reported:.1f}"
        median = f", median of the grid {100 * choice.median:.1f}" if choice.median is not None else ""
        label = plan.label(wanted[choice.runs[0].id], "seed", "method", "task", "backbone")
        where = f"{method} {task} {backbone}" + (f" ({words})" if words else "")
        lines.append(f"best of {len(choice.trials)} trials  {where}: {label} ({scores}{median})")
    return lines
